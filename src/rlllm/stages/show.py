"""`rlllm data show`: records as they are read, and the tokens that the trainer of a stage makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rlllm.core.builtins import METHODS
from rlllm.core.errors import ConfigError, DataError, unknown
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
)
from rlllm.data.adapt import SAMPLED_ROWS, adapt
from rlllm.data.bad_rows import BadRows
from rlllm.data.config import DataConfig
from rlllm.data.formats import Placed
from rlllm.data.layouts.stored import stored_kind
from rlllm.data.load import Loaded, load
from rlllm.data.prepared import read_manifest
from rlllm.data.sources import CallableSource, find
from rlllm.data.stream import open_source
from rlllm.stages.catalog import config_class
from rlllm.stages.families import Family, family_of
from rlllm.stages.trainer_view import SequenceView, eyes

WINDOW = 1000
"""Rows that are read at least: whether rows have prompts is decided over the data set, not over the shown ones."""
KINDS: dict[str, type[Record]] = {
    kind.__name__: kind for kind in (StepwiseSolution, PreferencePair, LabelledCompletion, Conversation, PromptTask)
}
"""Names of record types, in the order in which data without a kind is tried: the most specific first."""
_METHOD_OF: dict[type[Record], str] = {
    StepwiseSolution: "process",
    PreferencePair: "dpo",
    LabelledCompletion: "kto",
    Conversation: "sft",
    PromptTask: "grpo",
}
_VERBS = ("sft", "train-rm", "align", "reason")


@dataclass(frozen=True, slots=True)
class View:
    """How data is looked at: through the eyes of a method."""

    verb: str
    method: str
    family: Family


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """A record and, where asked for, its sequences."""

    row: int
    """Number among the training rows, from 1."""
    record: Record
    sequences: list[SequenceView] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shown:
    """What `rlllm data show` prints."""

    source: str
    kind: str
    """Name of the record type."""
    verb: str
    method: str
    columns: Mapping[str, str]
    """Record field to the column it was read from; empty where the source makes records itself."""
    records: list[ShownRecord]
    model: str | None = None
    max_length: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def show_data(
    data: DataConfig | str | Mapping[str, Any],
    *,
    kind: str | None = None,
    rows: int = 3,
    model: str | None = None,
    settings: Iterable[tuple[str, Any]] = (),
) -> Shown:
    """Read a data set and show its first records.

    Args:
        data: what to read: a name, or settings.
        kind: a training verb, a method, or the name of a record type; None finds the most specific that fits.
        rows: records to show.
        model: show the tokens that training this model would see; None shows no tokens, and needs no torch.
        settings: overrides of the verb's settings, such as ("max_length", 64).

    Raises:
        DataError: the data cannot be read as that kind.
        ConfigError: an unknown kind or setting, or a method whose trainer sees no recorded rows.
        ModelError: the model does not exist or does not load.
    """
    if rows < 1:
        raise ConfigError("at least one row is shown", given=f"rows={rows}")
    config = DataConfig.checked(data)
    limited = config if config.rows is not None else config.model_copy(update={"rows": max(rows, WINDOW)})
    view, loaded = read_as(limited, kind)
    records = loaded.train[:rows]
    shown = [ShownRecord(number, record) for number, record in enumerate(records, start=1)]
    source = loaded.source + (
        ", and no more were read" if config.rows is None and len(loaded.train) == limited.rows else ""
    )
    base = Shown(source, type(records[0]).__name__, view.verb, view.method, loaded.columns, shown)
    if model is None:
        return base
    trainer = eyes(view.verb, view.method, loaded, model, settings)
    return replace(
        base,
        records=[replace(one, sequences=trainer.see(one.record)) for one in shown],
        model=model,
        max_length=trainer.limit,
    )


def view_of(kind: str) -> View:
    """The method behind a verb's, a method's or a record type's name. Raises UnknownNameError."""
    types = {name.lower(): _METHOD_OF[record] for name, record in KINDS.items()}
    if kind in _VERBS:
        name = str(config_class(kind).model_fields["method"].default)
    elif kind.lower() in types:
        name = types[kind.lower()]
    elif kind in METHODS:
        name = kind
    else:
        raise unknown("kind of data", kind, [*_VERBS, *KINDS, *METHODS.names()])
    method = METHODS.load(name)
    return View(kind if kind in _VERBS else method.stage, name, family_of(method))


def read_as(config: DataConfig, kind: str | None) -> tuple[View, Loaded]:
    """A data set with training rows, read for a verb, a method or a record type; None is the most specific that fits.

    Raises:
        DataError: it cannot be read so, or has no training rows.
        ConfigError: an unknown kind, or a setting that this kind of source does not take.
    """
    if kind is not None:
        view = view_of(kind)
        return view, _some(load(config, view.family.record), config)
    if isinstance(find(config.name), CallableSource):
        return view_of("PromptTask"), _some(load(config, PromptTask), config)
    kind = most_specific(config).__name__
    return view_of(kind), _some(load(config, KINDS[kind]), config)


def _some(loaded: Loaded, config: DataConfig) -> Loaded:
    if not loaded.train:
        raise DataError("there are no training rows to show", given=config.name, hint="raise data.rows")
    return loaded


def most_specific(config: DataConfig) -> type[Record]:
    """The first record type that at least half of the first rows are, rather than can be turned into; else the last.

    Records that rlllm wrote are of the type they were written as. Bad rows do not decide: whoever reads the data then hears of
    them.

    Raises:
        DataError, ConfigError: as `data.stream.open_source`.
    """
    if manifest := read_manifest(Path(config.name)):
        return manifest.record
    source = open_source(config)
    assert not isinstance(source, CallableSource)
    *others, last = KINDS.values()
    try:
        head = list(islice(source.rows(config, BadRows("skip")), SAMPLED_ROWS))
    except (DataError, ConfigError):
        return last
    written = stored_kind([placed.row for placed in head if isinstance(placed.row, Mapping)])
    return written or next((kind for kind in others if head and _holds(head, kind, config)), last)


def _holds(head: Sequence[Placed], kind: type[Record], config: DataConfig) -> bool:
    bad = BadRows("skip")
    try:
        adapt(head, kind, config.columns, config.name, bad)
        bad.settle(config.name)
    except (DataError, ConfigError):
        return False
    return bad.good + bad.undecided > 0
