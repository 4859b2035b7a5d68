"""`rlllm data build | mix | decontaminate`: read sources, and write one prepared folder.

Rows are read one at a time and stored on disk. Duplicates and contaminated rows are dropped, whole prompts are held out, and
the rest is mixed. If the folder was built before from the same settings and bytes, it is kept. The folder is written whole or
not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm import __version__
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.records import Record
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.prepare.folder import (
    FILES,
    Manifest,
    content_hash,
    image_files_hash,
    read_manifest,
    records,
    write_manifest,
)
from rlllm.data.prepare.settings import Preparation
from rlllm.data.source_hash import sources_key

if TYPE_CHECKING:
    from rlllm.data.inspect.card import Contents
    from rlllm.data.prepare.assembly import Assembly, Decision

_CARD = "card.md"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared folder."""

    path: Path
    manifest: Manifest
    built: bool
    """False where the folder was already built from the same settings and bytes."""

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "built": self.built, **asdict(self.manifest)}


def prepare(config: Preparation, *, listener: ProgressCallback | None = None, command: str = "") -> Prepared:
    """Build a prepared folder, or keep it if it is already built.

    Args:
        config: what to read and what to do with it.
        listener: is told which source is read.
        command: the command line, for the card.

    Raises:
        ConfigError: settings that do not fit the sources, or a folder that is in the way.
        DataError: a source that cannot be read or mixed as asked.
    """
    from rlllm.stages.evaluate.items import evaluation_sets

    listener = listener or NullProgress()
    before = _in_the_way(config)
    key = sources_key([*config.sources, *evaluation_sets(config.contamination.against)], config.settings())
    if before and key and before.key == key and _unchanged(config.out, before):
        return Prepared(config.out, before, built=False)
    if before and not config.overwrite:
        raise ConfigError(
            "the folder was prepared otherwise: by other settings, of other bytes, or it was changed",
            given=config.out,
            hint="name another folder, or replace it with --overwrite",
        )
    with _published(config.out) as folder:
        manifest = _build(config, key, folder, listener, command)
    return Prepared(config.out, manifest, built=True)


def _unchanged(folder: Path, manifest: Manifest) -> bool:
    """Whether the rows of a prepared folder, and the image files that they name, are as they were when it was built."""
    try:
        return content_hash(folder) == manifest.hash and image_files_hash(folder) == manifest.images
    except DataError:  # a file is gone: building again names the row
        return False


def _in_the_way(config: Preparation) -> Manifest | None:
    """The manifest of the folder at `out`, if any. Raises ConfigError for anything else than a prepared or empty folder."""
    out = config.out
    if not out.exists():
        return None
    manifest = read_manifest(out) if out.is_dir() else None
    if manifest is None and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError("something else is there, which is never replaced", given=out, hint="name another folder")
    return manifest


@contextmanager
def _published(out: Path) -> Iterator[Path]:
    """A temporary folder that replaces `out` at the end, and is deleted after an error."""
    out = out.resolve()
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    former = out.with_name(f".{out.name}.former-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            os.replace(out, former)
        try:
            os.replace(partial, out)
        except BaseException:
            if former.exists() and not out.exists():
                os.replace(former, out)
            raise
    except OSError as error:
        raise ConfigError(f"the folder cannot be written: {error.strerror or error}", given=out) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def _build(config: Preparation, key: str, folder: Path, listener: ProgressCallback, command: str) -> Manifest:
    from rlllm.data.inspect.card import card
    from rlllm.data.prepare.assembly import Assembly
    from rlllm.data.prepare.line_store import LineStore
    from rlllm.tools.data.record_types import common_kind

    kind = common_kind(config.sources, config.kind)
    with LineStore(folder / "rows.partial") as store:
        assembly = Assembly(store, config.mixture, config.near_duplicates, _contamination(config, listener))
        bad = [_read(assembly, source, kind, listener) for source in config.sources]
        listener.phase("choosing rows")
        decision = assembly.decide(config.holdout)
        listener.phase("writing")
        assembly.write(folder, decision)
        skipped = sum(bad_rows.count for bad_rows in bad)
        manifest = Manifest(
            kind=kind.__name__,
            hash=content_hash(folder),
            key=key,
            train=len(decision.train),
            holdout=len(decision.holdout),
            sources=assembly.counts(decision),
            dropped={**({"bad rows": skipped} if skipped else {}), **decision.dropped},
            settings=config.settings(given=True),
            images=image_files_hash(folder),
            version=__version__,
        )
        contents = _contents(
            folder, manifest, assembly, decision, [text for bad_rows in bad for text in bad_rows.examples][:_SHOWN]
        )
    (folder / "rows.partial").unlink()
    (folder / _CARD).write_text(card(config.out.name, manifest, contents, command), encoding="utf-8", errors="replace")
    write_manifest(folder, manifest)
    return manifest


def _contamination(config: Preparation, listener: ProgressCallback) -> Any:
    """The search for evaluation prompts; None where no evaluation set is named."""
    if not config.contamination.against:
        return None
    from rlllm.data.prepare.contamination import Contamination
    from rlllm.stages.evaluate.items import evaluation_items

    listener.phase("reading evaluation sets")
    return Contamination(evaluation_items(config.contamination.against), config.contamination)


def _read(assembly: Assembly, source: DataConfig, kind: type[Record], listener: ProgressCallback) -> BadRows:
    """Read one source into the assembly; the result counts its bad rows."""
    from rlllm.data.stream import stream

    listener.phase(f"reading {source.name}")
    bad = BadRows(source.on_bad_row)
    rows = stream(source, kind, bad)
    assembly.read(source.name, rows, named=read_manifest(Path(source.name)) is not None)
    return bad


def _contents(
    folder: Path, manifest: Manifest, assembly: Assembly, decision: Decision, skipped: Sequence[str]
) -> Contents:
    """The contents of the card, from the rows as they were written."""
    from rlllm.data.inspect.card import Contents
    from rlllm.data.inspect.summary import check_records
    from rlllm.data.prepare.assembly import prompt_of

    def prompts(rows: Sequence[int]) -> list[str]:
        return [prompt_of(line) for line in assembly.store.lines(rows)]

    groups = decision.duplicates.groups(_SHOWN) if decision.duplicates else []
    report = decision.contamination
    hits = [hit for _, hit in zip(range(_SHOWN), report.hits(), strict=False)] if report else []
    return Contents(
        check=check_records({split: records(folder, manifest, split) for split in FILES}, str(folder)),
        duplicates=[
            (f"{len(group):,}", prompt)
            for group, prompt in zip(groups, prompts([group[0] for group in groups]), strict=True)
        ],
        against=report.by_source() if report else {},
        hits=[
            (hit.rule, f"{hit.score:.2f}", prompt, f"{hit.item.source} {hit.item.number}: {_short(hit.item.text)}")
            for hit, prompt in zip(hits, prompts([hit.row for hit in hits]), strict=True)
        ],
        skipped=skipped,
    )


def _short(text: str) -> str:
    from rlllm.data.prepare.assembly import first_words

    return first_words(text)
