"""Records of a source one at a time, in memory that does not grow with the number of rows. `load` is built on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.images import image_size
from rlllm.core.records import Record, images_of
from rlllm.data.config import DataConfig, held_out_rows
from rlllm.data.context_columns import with_system
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import Placed
from rlllm.data.mixed_sources import sources_of
from rlllm.data.pairs_to_labels import Conversion, find_conversion
from rlllm.data.request import DataRequest, Split
from rlllm.data.schemas.base import RowSchema
from rlllm.data.schemas.registry import find_schema
from rlllm.data.sources import CallableSource, HubSource, PathSource, Source, find
from rlllm.data.to_records import SAMPLED_ROWS, Adapter, adapt, fit

PROCEDURAL_ROWS = 2000
_SOURCE_FIELDS = (
    "columns",
    "row_schema",
    "image_folder",
    "level",
    "params",
    "subset",
    "split",
    "revision",
    "streaming",
)


def stream(config: DataConfig, kind: type[Record], bad: BadRows | None = None) -> Iterator[Record]:
    """The records of a source in order, before any split, at most `config.rows` of them.

    Of a mixture: the rows of its data sets, one data set after another. Of a procedural source: the training rows, and
    `config.holdout` held-out ones where that is set. Memory does not grow with the number of rows, except for JSON lists,
    labelled completions that are read as pairs, and procedural sources.

    Args:
        bad: counts the rows that are left out; by default with the policy `config.on_bad_row`.

    Raises:
        DataError, ConfigError, PluginError: as `load`, when the reading comes to it.
    """
    bad = bad or BadRows(config.on_bad_row)
    records: Iterator[Any]
    if config.mix:
        records = chain.from_iterable(stream(part, kind, bad) for part in sources_of(config))
    else:
        records = open_records(config, kind, bad).records
    for record in records:
        yield with_system(record, config.system_prompt) if config.system_prompt else record
    if not config.mix:
        bad.settle(config.name)


@dataclass(frozen=True, slots=True)
class OpenedRecords:
    """The records of one data set in order, and what makes them."""

    records: Iterator[Any]
    how: str
    """What makes records of the rows, for a reader: columns, a data schema, or the data set itself; and its own settings."""


def open_records(config: DataConfig, kind: type[Record], bad: BadRows) -> OpenedRecords:
    """The records of a data set that is no mixture, as `stream` gives them, without a system prompt."""
    source = open_source(config)
    if isinstance(source, CallableSource):
        rows = PROCEDURAL_ROWS if config.rows is None else config.rows
        train, columns = generate(source, config, kind, "train", rows, bad)
        held_out, _ = generate(source, config, kind, "holdout", held_out_rows(config.holdout, rows), bad)
        return OpenedRecords(iter([*train, *held_out]), _how(config, source, made_by(columns)))
    reading = read_rows(source, config, kind, bad)
    records = reading.converted(config.name, bad) if reading else iter(())
    return OpenedRecords(islice(records, config.rows), _how(config, source, reading.how if reading else "no rows"))


def made_by(columns: Mapping[str, str]) -> str:
    """What makes the records of a procedural source, for a reader: the columns of its mappings, else the source itself."""
    return _column_words(columns) or "records of its own"


def _column_words(columns: Mapping[str, str]) -> str:
    """`prompt=question, answer=final`; empty without columns."""
    return ", ".join(f"{field}={column}" for field, column in columns.items())


def _how(config: DataConfig, source: Source, made: str) -> str:
    """What makes the records, and the settings of this data set that are not the defaults."""
    defaults = DataConfig()
    taken = ("rows", "on_bad_row", *sorted(source.takes - {"columns", "row_schema"}))
    given = [(name, getattr(config, name)) for name in taken if getattr(config, name) != getattr(defaults, name)]
    return ", ".join([made, *(f"{name}={value}" for name, value in given)])


def open_source(config: DataConfig) -> Source:
    """The source that a data set names. Raises ConfigError for a setting it does not take; else as `find`."""
    source = find(config.name)
    defaults = DataConfig()
    for name in _SOURCE_FIELDS:
        value = getattr(config, name)
        if name not in source.takes and value != getattr(defaults, name):
            raise ConfigError(
                f"data.{name} means nothing for {config.name}",
                given=f"data.{name}={value}",
                exists=sorted({"rows", "holdout", "on_bad_row", *source.takes}),
                hint=f"leave data.{name} out",
            )
    return source


@dataclass(frozen=True, slots=True)
class Reading:
    """The records of an open source."""

    records: Iterator[Any]
    """Records of the type that is stored; nothing is read before they are taken, but for the first rows."""
    adapter: Adapter
    conversion: Conversion | None
    """How they become records of the requested type; None where they are of that type."""

    @property
    def how(self) -> str:
        """What makes records of the rows, for a reader."""
        schema, conversion = self.adapter.schema, self.conversion
        words = [f"schema {schema.name}"] if schema else []
        words += [_column_words(self.adapter.columns)] if self.adapter.columns else []
        words += [f"read from {conversion.stored.__name__} rows"] if conversion else []
        return ", ".join(words)

    def converted(self, source: str, bad: BadRows) -> Iterator[Any]:
        """Records of the requested type."""
        return iter(self.conversion.convert(list(self.records), source, bad)) if self.conversion else self.records


def schema_of(config: DataConfig) -> RowSchema | None:
    """The data schema that the settings name; None where it is to be recognised. Raises as `find_schema`."""
    return find_schema(config.row_schema) if config.row_schema else None


def read_rows(source: PathSource | HubSource, config: DataConfig, kind: type[Record], bad: BadRows) -> Reading | None:
    """The records of stored rows, with the schema or the columns chosen from the first 64; None where there are no rows."""
    rows = source.rows(config, bad)
    head = list(islice(rows, SAMPLED_ROWS))
    if not head:
        return None
    schema = schema_of(config)
    conversion = find_conversion(head, kind, config.columns, config.name, schema)
    adapter = fit(head, conversion.stored if conversion else kind, config.columns, config.name, schema)
    return Reading(adapter.records(chain(head, rows), bad), adapter, conversion)


def generate(
    source: CallableSource, config: DataConfig, kind: type[Record], split: Split, rows: int, bad: BadRows
) -> tuple[list[Any], dict[str, str]]:
    """Records of one split of a procedural source, and the columns they were read from where it makes mappings."""
    if clash := source.params.keys() & config.params.keys():
        raise ConfigError(f"data.params.{min(clash)} is already given by the name", given=config.name)
    if not rows:
        return [], {}
    params = {**config.params, **source.params}
    placed = source.rows(DataRequest(kind, split, rows, config.seed, config.level, params))
    if not placed or not isinstance(placed[0].row, Record):
        return adapt(placed, kind, config.columns, source.name, bad, schema_of(config)) if placed else ([], {})
    if config.columns or config.row_schema:
        setting = "columns" if config.columns else "row_schema"
        raise ConfigError(f"data.{setting} means nothing for a dataset that makes records", given=source.name)
    return [_of_kind(item, kind) for item in placed], {}


def _of_kind(placed: Placed, kind: type[Record]) -> Any:
    if isinstance(placed.row, kind):
        for reference in images_of(placed.row.prompt):
            try:
                image_size(reference)
            except DataError as error:
                raise DataError(f"{placed.place}: {error.what}", given=error.given, hint=error.hint) from error
        return placed.row
    raise DataError(
        f"{placed.place} is a {type(placed.row).__name__}, where {kind.__name__} was asked for",
        hint="a dataset makes records of request.kind, or mappings",
    )
