"""The record type that data is read as: the one asked for, that of a prepared folder, or the most specific that fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rlllm.algorithms.registry import METHODS
from rlllm.core.errors import ConfigError, DataError, unknown
from rlllm.core.records import (
    RECORD_TYPES,
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
)
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import Placed
from rlllm.data.load import Loaded, load
from rlllm.data.mixed_sources import sources_of
from rlllm.data.prepare.folder import read_manifest
from rlllm.data.schemas.stored_records import stored_type
from rlllm.data.sources import CallableSource, find
from rlllm.data.stream import open_source, schema_of
from rlllm.data.to_records import SAMPLED_ROWS, adapt
from rlllm.stages.catalog import STAGES
from rlllm.training.registry import trainer_of
from rlllm.training.trainers.base import Trainer

_METHOD_OF: dict[type[Record], str] = {
    StepwiseSolution: "process",
    PreferencePair: "dpo",
    LabelledCompletion: "kto",
    Conversation: "sft",
    PromptTask: "grpo",
}
_VERBS = ("sft", "train-rm", "align", "reason")


@dataclass(frozen=True, slots=True)
class DataView:
    """The verb, method and trainer that data is read for."""

    verb: str
    method: str
    trainer: Trainer[Any, Any]


def _view_of(kind: str) -> DataView:
    """The method behind a verb's, a method's or a record type's name. Raises UnknownNameError."""
    types = {name.lower(): _METHOD_OF[record] for name, record in RECORD_TYPES.items()}
    if kind in _VERBS:
        name = STAGES[kind].method
    elif kind.lower() in types:
        name = types[kind.lower()]
    elif kind in METHODS:
        name = kind
    else:
        raise unknown("kind of data", kind, [*_VERBS, *RECORD_TYPES, *METHODS.names()])
    method = METHODS.load(name)
    return DataView(kind if kind in _VERBS else method.stages[0], name, trainer_of(method))


def read_as(config: DataConfig, kind: str | None) -> tuple[DataView, Loaded]:
    """A data set with training rows, read for a verb, a method or a record type; None is the most specific that fits.

    Raises:
        DataError: it cannot be read so, or has no training rows.
        ConfigError: an unknown kind, or a setting that this kind of source does not take.
    """
    record = record_kind(config, kind)
    loaded = load(config, record)
    if not loaded.train:
        hint = "all its rows are held out: rlllm data check looks at those" if loaded.holdout else "raise data.rows"
        raise DataError("there are no training rows to show", given=config.name, hint=hint)
    return _view_of(kind or record.__name__), loaded


def record_kind(data: DataConfig, kind: str | None = None) -> type[Record]:
    """The record type of a data set.

    Args:
        data: the data set; some of its rows are read.
        kind: a verb, a method or a record type, as `rlllm data show --kind` takes it.

    Raises:
        DataError, ConfigError: there is no such data set, or a setting that it does not take.
        UnknownNameError: there is no such kind.
    """
    if kind is not None:
        return _view_of(kind).trainer.record
    if data.mix:
        return common_kind(sources_of(data))
    if isinstance(find(data.name), CallableSource):
        return PromptTask
    return _most_specific(data)


def common_kind(sources: Iterable[DataConfig], kind: str | None = None) -> type[Record]:
    """The record type that all of these data sets are read as. Raises as `record_kind`, and where they differ."""
    record_types = {source.name: record_kind(source, kind) for source in sources}
    if len(set(record_types.values())) > 1:
        names = ", ".join(f"{name}: {record.__name__}" for name, record in record_types.items())
        raise ConfigError(
            "the sources are of different types",
            given=names,
            hint="say how to read them: a kind, such as sft or PreferencePair",
        )
    return next(iter(record_types.values()))


def _most_specific(config: DataConfig) -> type[Record]:
    """The first record type that at least half of the first rows are, rather than can be turned into; else the last.

    Records that rlllm wrote are of the type they were written as. Bad rows are not counted here; reading the data reports them.

    Raises:
        DataError, ConfigError: as `data.stream.open_source`.
    """
    if manifest := read_manifest(Path(config.name)):
        return manifest.record
    source = open_source(config)
    assert not isinstance(source, CallableSource)
    *others, last = RECORD_TYPES.values()
    try:
        head = list(islice(source.rows(config, BadRows("skip")), SAMPLED_ROWS))
    except (DataError, ConfigError):
        return last
    written = stored_type([placed.row for placed in head if isinstance(placed.row, Mapping)])
    return written or next((kind for kind in others if head and _holds(head, kind, config)), last)


def _holds(head: Sequence[Placed], kind: type[Record], config: DataConfig) -> bool:
    bad = BadRows("skip")
    try:
        adapt(head, kind, config.columns, config.name, bad, schema_of(config))
        bad.settle(config.name)
    except (DataError, ConfigError):
        return False
    return bad.good + bad.undecided > 0
