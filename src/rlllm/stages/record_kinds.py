"""Which record type data is read as: what was asked for, what a prepared folder holds, or the most specific that fits."""

from __future__ import annotations

from collections.abc import Iterable

from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Record
from rlllm.data.config import DataConfig
from rlllm.data.sources import CallableSource, find
from rlllm.stages.show import most_specific, view_of


def record_kind(data: DataConfig, kind: str | None = None) -> type[Record]:
    """The record type of a data set.

    Args:
        data: the data set; some of its rows are read.
        kind: a verb, a method or a record type, as `rlllm data show --kind` takes it.

    Raises:
        DataError, ConfigError: there is no such data set, or a setting that it does not take.
        UnknownNameError: nobody knows the kind.
    """
    if kind is not None:
        return view_of(kind).family.record
    if isinstance(find(data.name), CallableSource):
        return PromptTask
    return most_specific(data)


def common_kind(sources: Iterable[DataConfig], kind: str | None = None) -> type[Record]:
    """The record type that all of these data sets are read as. Raises as `record_kind`, and where they differ."""
    found = {source.name: record_kind(source, kind) for source in sources}
    if len(set(found.values())) > 1:
        names = ", ".join(f"{name}: {record.__name__}" for name, record in found.items())
        raise ConfigError(
            "the sources are of different types",
            given=names,
            hint="say how to read them: a kind, such as sft or PreferencePair",
        )
    return next(iter(found.values()))
