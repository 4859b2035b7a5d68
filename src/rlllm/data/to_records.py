"""Rows of a source to records: by a data schema, the user's column map, or well-known column names.

Which of these is used is decided by the first rows, and then holds for all. `record_builders` makes the records themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.core.records import Record
from rlllm.data import columns, context_columns, preference, row_images
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import Placed, json_type
from rlllm.data.record_builders import BUILDERS, SKIP_HINT, Cells
from rlllm.data.schemas.base import FOLLOWING, RowError, RowSchema
from rlllm.data.schemas.registry import recognise

_MEDIA = ("videos", "video", "audios", "audio")
"""Columns that hold what no model here sees or hears, as datasets of other tools name them."""
SAMPLED_ROWS = 64
"""First rows of a source, from which its schema and its columns are chosen."""


def adapt(
    rows: Iterable[Placed],
    kind: type[Record],
    explicit: Mapping[str, str],
    source: str,
    bad: BadRows | None = None,
    schema: RowSchema | None = None,
) -> tuple[list[Any], dict[str, str]]:
    """Records of one type, and the column map that was used (empty where a schema converts the rows).

    Raises:
        ConfigError, DataError: see `fit`; or a row does not fit, named by its place, unless `bad` skips such rows.
    """
    rows = list(rows)
    adapter = fit(rows[:SAMPLED_ROWS], kind, explicit, source, schema)
    return list(adapter.records(rows, bad or BadRows())), dict(adapter.columns)


def fit(
    head: Sequence[Placed],
    kind: type[Record],
    explicit: Mapping[str, str],
    source: str,
    schema: RowSchema | None = None,
) -> Adapter:
    """How the rows that begin with `head` become records of `kind`.

    By `schema` where it is given, else by the user's column map `explicit`, else by a schema that is recognised, else by
    well-known column names.

    Raises:
        ConfigError, DataError: see `columns.choose`; no row has columns; or `schema` does not make `kind`.
    """
    rows = [placed for placed in head if isinstance(placed.row, Mapping)]
    if not rows:
        raise _no_columns(head[0], source)
    of_context, explicit = context_columns.split_map(explicit)
    if schema and kind not in schema.record_types:
        raise DataError(
            f"the data schema {schema.name} makes no {kind.__name__} records",
            given=source,
            exists=[record_type.__name__ for record_type in schema.record_types],
        )
    if schema is None and not explicit:
        schema = recognise([placed.row for placed in rows], kind)
    column_map = schema.columns.get(kind, {}) if schema else columns.choose(rows, kind, explicit, source)
    has_context = not {"text", "meta"} & column_map.keys()  # plain text and stored records have none beside the record
    chosen = (
        context_columns.choose([placed.row for placed in rows], of_context, column_map, source, kind)
        if has_context
        else {name: column for name, column in of_context.items() if column == context_columns.OFF}
    )
    empty = {} if schema else columns.empty_columns(rows, kind, explicit, column_map)
    return Adapter(kind, {**column_map, **chosen}, source, schema, empty, chosen, mapped=bool(explicit))


@dataclass(frozen=True, slots=True)
class Adapter:
    """What makes records of one type from the rows of one source; fixed by the first rows, the same for all."""

    kind: type[Record]
    columns: Mapping[str, str]
    """Record field to column expression; empty where the schema converts the rows."""
    source: str
    schema: RowSchema | None = None
    empty: Mapping[str, str] = field(default_factory=dict)
    """Columns that had no value when columns were chosen, and would be chosen with one, each with the map that reads it."""
    context: Mapping[str, str] = field(default_factory=dict)
    """The part of `columns` that `context_columns` chose."""
    mapped: bool = False
    """Whether the user named columns."""

    def records(self, rows: Iterable[Placed], bad: BadRows) -> Iterator[Any]:
        """The records of each row in order, none of a row that is skipped."""
        build = BUILDERS[self.kind]
        for placed in self._grouped(rows):
            try:
                records = [build(cells) for cells in self._cells(placed)]
            except DataError as error:
                bad.add(error)
                continue
            bad.good += bool(records)
            bad.undecided += not records
            yield from records

    def _grouped(self, rows: Iterable[Placed]) -> Iterator[Placed]:
        """The rows, those that only together make a record as one (see `RowSchema.group_by`)."""
        if self.schema is None or self.kind not in self.schema.group_by:
            yield from rows
            return
        column = self.schema.group_by[self.kind]

        def key(placed: Placed) -> tuple[bool, object]:
            try:
                fits = isinstance(placed.row, Mapping) and self._fits(placed)
            except DataError:  # raised again, and counted, when the row is converted
                fits = False
            return (True, placed.row.get(column)) if fits else (False, placed.place)

        for (fits, _), group in groupby(rows, key):
            first, *others = group
            row = {**first.row, FOLLOWING: [placed.row for placed in others]} if fits else first.row
            yield first._replace(row=row)

    def _cells(self, placed: Placed) -> list[Cells]:
        if not isinstance(placed.row, Mapping):
            raise _no_columns(placed, self.source)
        self._refuse_media(placed)
        if self.schema is None:
            self._refuse_unchosen(placed)
            column_map = self._sides(placed) if "winner" in self.columns else self.columns
            return [self._of(placed, placed.row, column_map)] if column_map else []
        if not self._fits(placed):
            raise DataError(
                f"{placed.place} does not fit the schema {self.schema.name}: it needs {self.schema.needs}",
                given=self.source,
                exists=columns.column_names([placed.row]),
                hint=f"say which column is which with --columns; {SKIP_HINT}",
            )
        if self.kind in self.schema.columns:
            return [self._of(placed, placed.row, self.columns)]
        column = self.context.get("images", context_columns.OFF)
        pictures = (
            {column: placed.row[column]} if column in placed.row else {}
        )  # a schema may leave out what it does not use
        return [
            replace(
                self._of(placed, {**pictures, **row}, {**_own_fields(self.kind, row), **self.context}),
                schema=self.schema.name,
            )
            for row in self._converted(placed)
        ]

    def _of(self, placed: Placed, row: Mapping[str, Any], column_map: Mapping[str, str]) -> Cells:
        return Cells(placed.place, row, column_map, self.source, folder=placed.folder)

    def _refuse_media(self, placed: Placed) -> None:
        """Refuse films, sounds and images that are not read, unless the user set them aside: text alone means another thing."""
        for column in () if self.mapped else _MEDIA:
            if _has(placed.row, column):
                raise DataError(
                    f"{placed.place} has {column}, and only text and images are learned from",
                    given=self.source,
                    hint="to read the text without it, name the columns yourself with --columns; " + SKIP_HINT,
                )
        if "meta" in self.columns or self.context.get("images") == context_columns.OFF:
            return
        for column in context_columns.ALIASES["images"]:
            unread = column != self.context.get("images") and _has(placed.row, column)
            if unread and (not self.mapped or row_images.could_be(placed.row[column])):
                raise self._unread(placed, column)

    def _unread(self, placed: Placed, column: str) -> DataError:
        """The error for a column of images that is not read, as its name would have it."""
        if "text" in self.columns:
            why = "plain text to continue shows no images"
        elif chosen := self.context.get("images"):
            why = f"the images are read from {chosen}"
        else:
            why = f"most of the first {SAMPLED_ROWS} rows have no image there"
        return DataError(
            f"{placed.place} has a value in the column {column}, which is not read: {why}",
            given=self.source,
            hint=f"read it with --columns images={column}, leave it out with images={context_columns.OFF}; {SKIP_HINT}",
        )

    def _sides(self, placed: Placed) -> dict[str, str]:
        """The column map with `chosen` and `rejected` as the row decides them; empty where it prefers neither."""
        column = preference.column_of(self.columns["winner"])
        sides = preference.sides(columns.read(placed.row, column), self.columns, placed.place)
        shared = {field: name for field, name in self.columns.items() if field not in ("first", "second", "winner")}
        return {**shared, "chosen": sides[0], "rejected": sides[1]} if sides else {}

    def _fits(self, placed: Placed) -> bool:
        assert self.schema is not None
        try:
            return bool(self.schema.fits(placed.row))
        except Exception as error:
            raise self._schema_error("fits", self.schema.fits, placed, error) from error

    def _converted(self, placed: Placed) -> Sequence[Mapping[str, Any]]:
        """The rows of record fields that the schema's `convert` gives for a row."""
        assert self.schema is not None
        try:
            rows = self.schema.convert[self.kind](placed.row)
        except RowError as error:
            raise DataError(
                f"{placed.place} {error}",
                hint="name the columns yourself with --columns, or count and leave out such rows: data.on_bad_row=skip",
            ) from error
        except Exception as error:
            raise self._schema_error("convert", self.schema.convert[self.kind], placed, error) from error
        if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
            raise DataError(
                f"convert of the data schema {self.schema.name} returned {_type_name(rows)}, not a list of mappings",
                given=placed.place,
                exists=columns.RECORD_FIELDS[self.kind][0].names,
            )
        return rows

    def _schema_error(self, name: str, function: Callable[..., Any], placed: Placed, error: Exception) -> Exception:
        """The error for a schema's function that raised something else than RowError; `error` itself for a built-in schema."""
        assert self.schema is not None
        try:
            with plugin_boundary(
                "data schema",
                f"{self.schema.name}: {name}",
                function,
                error_type=DataError,
                keys=columns.column_names([placed.row]),
                given=placed.place,
                hint="raise RowError for a row that cannot be converted",
            ):
                raise error
        except Exception as attributed:
            return attributed

    def _refuse_unchosen(self, placed: Placed) -> None:
        """Refuse a value in a column that was empty when columns were chosen: by the order of the rows it would be left out."""
        for column, better in self.empty.items():
            if column in placed.row and columns.filled(placed.row, column):
                raise DataError(
                    f"{placed.place} has a value in the column {column}, which the first {SAMPLED_ROWS} rows lack",
                    given=self.source,
                    hint=f"put such a row among the first, which reads {better}; or say which column is which with --columns",
                )


def _own_fields(kind: type[Record], row: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a record in a row that a schema made, each as its own column."""
    ways = columns.RECORD_FIELDS[kind]
    fields = next((way for way in ways if all(field in row for field in way.required)), ways[0])
    return {field: field for field in fields.names if field in row}


def _has(row: Mapping[str, Any], column: str) -> bool:
    """Whether a row has something in a column."""
    return column in row and columns.filled(row, column) and row[column] != []


def _type_name(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"a list with {json_type(next(item for item in value if not isinstance(item, Mapping)))}"
    return json_type(value)


def _no_columns(placed: Placed, source: str) -> DataError:
    return DataError(f"{placed.place} is {json_type(placed.row)}, not a mapping of columns", given=source)
