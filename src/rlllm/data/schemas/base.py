"""`RowSchema`: how to recognise the rows of a data set, and how to turn them into records.

A schema is recognised when more than half of the first rows fit it. Every later row has to fit too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.records import Record

Row = Mapping[str, Any]
Converter = Callable[[Row], list[dict[str, Any]]]
"""A row -> rows whose columns are record fields (`prompt`, `chosen`, ...); every other column becomes `meta`.

An empty list where the row prefers neither of two answers. A row that cannot be converted raises RowError."""

FOLLOWING = "rows that follow"
"""Column of a grouped row that holds the other rows of its group (see `RowSchema.group_by`)."""


class RowError(ValueError):
    """A row has the columns of its schema but not their content. The message continues "row 3 of file.jsonl ..."."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSchema:
    """The columns of a published data set.

    Give `columns` for record types whose fields are columns of the row, and `convert` for those that have to be computed.
    """

    name: str
    summary: str
    """One line: the data set, and the paper it is from."""
    fits: Callable[[Row], bool]
    """Whether a row has the columns, and their types, of this schema. It is called with rows of any data set."""
    needs: str
    """What `fits` tests, in words, for the error message of a row that does not fit."""
    columns: Mapping[type[Record], Mapping[str, str]] = field(default_factory=dict)
    """Record type -> record field -> column expression, as in `data.columns`: a name, `outer.inner`, or `one+other`."""
    convert: Mapping[type[Record], Converter] = field(default_factory=dict)
    """Record type -> function from a row to rows of record fields."""
    group_by: Mapping[type[Record], str] = field(default_factory=dict)
    """Record type -> column. Consecutive rows with equal values there become one row, which `convert` gets: the first of them,
    with the others as a list in its column `FOLLOWING`."""
    precedence: int = 0
    """Where several schemas fit the same rows, the one with the highest precedence is used."""

    @property
    def record_types(self) -> tuple[type[Record], ...]:
        """Record types that this schema makes."""
        return (*self.columns, *self.convert)


def has_columns(*names: str, lacks: Iterable[str] = ()) -> Callable[[Row], bool]:
    """A test of the column names alone: all of `names`, and none of `lacks`."""
    needed, unwanted = frozenset(names), frozenset(lacks)
    return lambda row: needed <= row.keys() and unwanted.isdisjoint(row)


def without(row: Row, *used: str) -> dict[str, Any]:
    """The row without the columns in `used`."""
    return {str(name): value for name, value in row.items() if name not in used}


def number(value: Any, name: str) -> float:
    """A score. Raises RowError where the value is no finite number."""
    try:
        score = float("nan" if isinstance(value, bool) or value is None else value)
    except (TypeError, ValueError, OverflowError):
        score = float("nan")
    if abs(score) < float("inf"):
        return score
    raise RowError(f"has no number in {name}")


def text(value: Any, name: str) -> str:
    """A text that is not blank. Raises RowError otherwise."""
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"has no text in {name}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON inside a column may escape half of a character
        raise RowError(f"has half a character in {name}") from error
    return value
