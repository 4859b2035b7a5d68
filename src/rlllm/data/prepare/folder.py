"""Prepared folders: the files, their manifest, and how records are written and read.

    train.jsonl    one record a line: its fields, and `meta`      prepared.json  sources, settings, counts of dropped rows
    holdout.jsonl  the held-out rows, if there are any            card.md        the same for a reader

A record is read back unchanged, except for values that JSON does not have. `load` uses the held-out rows of the folder.
Reading the folder by split gives the training rows, or those of `data.split=holdout`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.images import image_digest, is_data_uri
from rlllm.core.records import RECORD_TYPES, Record, StepwiseSolution, fingerprint, images_of, stored_fields
from rlllm.core.runs import read_json, write_json
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.files import iterate_file
from rlllm.data.io.formats import Placed

MANIFEST = "prepared.json"
FILES = {"train": "train.jsonl", "holdout": "holdout.jsonl"}
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SourceCount:
    """Counts of one source."""

    name: str
    read: int
    kept: int
    """Rows that no check dropped."""
    train: int
    """Lines in train.jsonl; more than `kept` where rows are repeated."""
    holdout: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a prepared folder holds."""

    kind: str
    """Name of the record type."""
    hash: str
    """Hash of the bytes of both files."""
    key: str
    """Hash of the settings and of the sources' bytes; empty where the sources' bytes cannot be known."""
    train: int
    holdout: int
    sources: list[SourceCount]
    dropped: dict[str, int]
    """Reason -> number of rows that were left out."""
    settings: dict[str, Any] = field(default_factory=dict)
    images: str = ""
    """Hash of the image files that rows name; empty where they name none."""
    version: str = ""
    """Version of rlllm that wrote it."""
    format: int = _FORMAT

    @property
    def record(self) -> type[Record]:
        return RECORD_TYPES[self.kind]


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of a folder; None where it is no prepared one.

    Raises:
        DataError: a manifest that cannot be read, or of a newer form.
    """
    file = path / MANIFEST
    if not file.is_file():
        return None
    try:
        values = read_json(file)
        if values.get("format") != _FORMAT:
            raise DataError(
                f"{MANIFEST} has a form this version cannot read", given=file, hint="build the folder again"
            )
        field_names = {item.name for item in fields(Manifest)}
        sources = [SourceCount(**source) for source in values.pop("sources")]
        manifest = Manifest(sources=sources, **{key: value for key, value in values.items() if key in field_names})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{MANIFEST} cannot be read", given=file, hint="build the folder again") from error
    if manifest.kind not in RECORD_TYPES:
        raise DataError(f"{MANIFEST} names an unknown record type: {manifest.kind}", given=file, exists=RECORD_TYPES)
    return manifest


def write_manifest(path: Path, manifest: Manifest) -> None:
    write_json(path / MANIFEST, asdict(manifest))


def content_hash(path: Path) -> str:
    """Hash of the rows of a prepared folder, from its files' bytes."""
    digest = hashlib.sha256()
    for file in FILES.values():
        digest.update(file.encode())
        if (path / file).exists():
            with (path / file).open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def image_files_hash(path: Path) -> str:
    """Hash of what is in the image files that the rows of a prepared folder name; empty where they name none.

    Raises:
        DataError: a file that is no longer there.
    """
    digests = []
    for file in FILES.values():
        if (path / file).exists():
            with (path / file).open(encoding="utf-8") as lines:
                shown = (json.loads(line)["prompt"] for line in lines if '"type":"image"' in line)
                digests += [image_digest(ref) for prompt in shown for ref in images_of(prompt) if not is_data_uri(ref)]
    return fingerprint(digests) if digests else ""


def line_of(record: Record, meta: Mapping[str, Any] | None = None) -> str:
    """A record as its line, with other `meta` where that is given.

    NaN and infinity become null, a date its text.

    Raises:
        ValueError, TypeError: a value that cannot be written even so.
    """
    values = stored_fields(record)
    values["meta"] = dict(record.meta if meta is None else meta)
    try:
        return _ENCODER.encode(values)
    except ValueError:
        return _ENCODER.encode(_finite(values))


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)


def _finite(value: Any) -> Any:
    """The value with null for NaN and infinity, which tables use to mark a gap."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def record_of(line: str, kind: type[Record]) -> Any:
    """The record of a line written by `line_of`."""
    values = json.loads(line)
    if kind is StepwiseSolution:
        values["steps"], values["labels"] = tuple(values["steps"]), tuple(values["labels"])
    if "trained_turns" in values:
        values["trained_turns"] = tuple(values["trained_turns"])
    return kind(**values)


def records(path: Path, manifest: Manifest, split: str) -> Iterator[Any]:
    """Records of `train` or `holdout`, one at a time.

    Raises:
        DataError: a line that is not as it was written.
    """
    for number, line in _lines(path, split):
        try:
            yield record_of(line, manifest.record)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"line {number} of {FILES[split]} is no {manifest.kind}", given=path, hint="build the folder again"
            ) from error


def rows(path: Path, split: str, bad: BadRows) -> Iterator[Placed]:
    """Lines of `train` or `holdout` as rows, for readers of any record type; none of a split that is not there.

    Raises:
        DataError: a split that prepared folders do not have, or as `iterate_file`.
    """
    if split not in FILES:
        raise DataError(f"a prepared folder has no split {split}", given=path, exists=FILES, hint="data.split=holdout")
    if (path / FILES[split]).exists() or split == "train":
        yield from iterate_file(path / FILES[split], bad)


def _lines(path: Path, split: str) -> Iterator[tuple[int, str]]:
    file = path / FILES[split]
    if split == "holdout" and not file.exists():
        return
    try:
        with file.open(encoding="utf-8", errors="surrogatepass", newline="\n") as lines:
            yield from enumerate(lines, start=1)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file.name} of the prepared folder cannot be read", given=file) from error
