"""What a layout is: how to know it from a row, and how its rows become records. `table` lists all of them.

A layout is recognised when more than half of the first rows fit it. From then on every row has to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import Record
from rlllm.data.io.formats import Placed

Row = Mapping[str, Any]
Expand = Callable[[Row, str], list[dict[str, Any]]]
"""A row and its place -> rows whose columns are record fields (`prompt`, `chosen`, ...) and what else is kept as `meta`.

None where the row prefers neither of two answers. A row that cannot be read is a DataError that names the place."""


@dataclass(frozen=True, slots=True)
class RowSchema:
    """The columns of a published data set, or of a family of them."""

    name: str
    fits: Callable[[Row], bool]
    needs: str
    """What a row has to have, in words for the message on one that does not fit."""
    maps: Mapping[type[Record], Mapping[str, str]] = field(default_factory=dict)
    """Record types whose fields are columns of the row: field to column expression."""
    expands: Mapping[type[Record], Expand] = field(default_factory=dict)
    """Record types that have to be built."""
    joined: Mapping[type[Record], Callable[[Iterable[Placed]], Iterator[Placed]]] = field(default_factory=dict)
    """Record types that several rows make together: all rows in order -> the joined ones (see `together`)."""

    def makes(self, kind: type[Record]) -> bool:
        return kind in self.maps or kind in self.expands


def has(*names: str, lacks: Iterable[str] = ()) -> Callable[[Row], bool]:
    """A test of the column names alone."""
    needed, unwanted = frozenset(names), frozenset(lacks)
    return lambda row: needed <= row.keys() and unwanted.isdisjoint(row)


FOLLOWING = "rows that follow"
"""Column of a joined row that holds the other rows."""


def together(fits: Callable[[Row], bool], column: str) -> Callable[[Iterable[Placed]], Iterator[Placed]]:
    """Rows that follow one another with the same value of `column`, as the first of them with the column `FOLLOWING`.

    A row that does not fit the layout stays alone.
    """

    def key(placed: Placed) -> tuple[bool, object]:
        mapping = isinstance(placed.row, Mapping)
        return (True, placed.row[column]) if mapping and fits(placed.row) else (False, placed.place)

    def join(rows: Iterable[Placed]) -> Iterator[Placed]:
        for (fitting, _), group in groupby(rows, key):
            first, *others = group
            row = {**first.row, FOLLOWING: [placed.row for placed in others]} if fitting else first.row
            yield Placed(first.place, row)

    return join


def rest(row: Row, *used: str) -> dict[str, Any]:
    """The columns that were not used, which become `meta`."""
    return {str(name): value for name, value in row.items() if name not in used}


def unfit(place: str, problem: str) -> DataError:
    """The error for a row that has the columns of its layout, but not their content."""
    return DataError(
        f"{place} {problem}",
        hint="name the columns yourself with --columns, or count and leave out such rows: data.on_bad_row=skip",
    )


def number(value: Any, name: str, place: str) -> float:
    """A score. Raises DataError where the value is no finite number."""
    try:
        found = float("nan" if isinstance(value, bool) or value is None else value)
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if abs(found) < float("inf"):
        return found
    raise unfit(place, f"has no number in {name}")


def text(value: Any, name: str, place: str) -> str:
    """A text that says something. Raises DataError otherwise."""
    if not isinstance(value, str) or not value.strip():
        raise unfit(place, f"has no text in {name}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON inside a column may escape half of a character
        raise unfit(place, f"has half a character in {name}") from error
    return value
