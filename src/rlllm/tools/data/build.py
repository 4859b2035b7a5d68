"""`rlllm data build | mix | decontaminate`: read sources, and write one prepared folder.

Rows are read one at a time and stored on disk. Duplicates and contaminated rows are dropped, whole prompts are held out, and
the rest is mixed. If the folder was built before from the same settings and bytes, it is kept. The folder is written whole or
not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from rlllm import __version__
from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.records import Record
from rlllm.data.config import DataConfig, Holdout
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.prepare.folder import FILES, Manifest, content_hash, read_manifest, records, write_manifest
from rlllm.data.prepare.settings import ContaminationRules, Mixture, NearDuplicates
from rlllm.data.source_hash import sources_key

if TYPE_CHECKING:
    from rlllm.data.inspect.card import Contents
    from rlllm.data.prepare.assembly import Assembly, Decision

_CARD = "card.md"
_SHOWN = 20


class Preparation(Section):
    """Settings of a prepared folder, as written in a file for `rlllm data build`."""

    sources: list[DataConfig] = Field(min_length=1)
    """What to read, in this order; of rows that repeat each other, the first stays."""
    kind: str | None = None
    """Verb, method or record type to read it as. Unset: the most specific type that fits."""
    near_duplicates: NearDuplicates | None = None
    """Which rows repeat an earlier one. Unset: none is dropped."""
    contamination: ContaminationRules = ContaminationRules()
    """Evaluation sets that training rows may not hold."""
    holdout: Holdout = 0
    """Rows to hold out, below 1 this share of those that no check dropped; whole prompts, chosen by a hash of the prompt."""
    mixture: Mixture = Mixture()
    """How many rows of each source are trained on, and in which order."""
    out: Path
    """Folder to write."""
    overwrite: bool = False
    """Replace a folder that was prepared otherwise."""

    @model_validator(mode="before")
    @classmethod
    def _widen(cls, value: Any) -> Any:
        """Accept one source without a list, and `near_duplicates: true` or its threshold."""
        if not isinstance(value, dict):
            return value
        wide = dict(value)
        if isinstance(wide.get("sources"), str | dict):
            wide["sources"] = [wide["sources"]]
        near = wide.get("near_duplicates")
        if isinstance(near, bool):
            wide["near_duplicates"] = {} if near else None
        elif isinstance(near, int | float):
            wide["near_duplicates"] = {"threshold": near}
        return wide

    @model_validator(mode="after")
    def _fits(self) -> Preparation:
        self.mixture.check_sources(len(self.sources))
        with_holdout = [source.name for source in self.sources if source.holdout is not None]
        if with_holdout:
            raise ConfigError(
                "rows are held out of all sources together", given=with_holdout[0], hint="write holdout beside sources"
            )
        return self

    @classmethod
    def with_settings(cls, values: Mapping[str, Any], overrides: Iterable[tuple[str, Any]]) -> Preparation:
        """The settings of a file, with dotted keys that win over them. Raises ConfigError for values that do not fit."""
        merged = dict(values)
        for key, value in overrides:
            *path, last = key.replace("-", "_").split(".")
            node = merged
            for part in path:
                inner = node.get(part)
                node[part] = dict(inner) if isinstance(inner, Mapping) else {}
                node = node[part]
            node[last] = value
        return cls.checked(merged)

    def settings(self, *, given: bool = False) -> dict[str, Any]:
        """The settings that decide the rows, without the output folder; `given` leaves out defaults."""
        return self.model_dump(mode="json", exclude={"out", "overwrite"}, exclude_unset=given)


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
    from rlllm.tools.data.evaluation_items import evaluation_sets

    listener = listener or NullProgress()
    before = _in_the_way(config)
    key = sources_key([*config.sources, *evaluation_sets(config.contamination.against)], config.settings())
    if before and key and before.key == key and content_hash(config.out) == before.hash:
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
    from rlllm.tools.data.evaluation_items import evaluation_items

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
