"""Which of two answers is preferred, by the value of a column that a column map names: `first`, `second` and `winner`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rlllm.core.errors import DataError

_EXPRESSION = re.compile(r"(?P<column>.+?)(?::(?P<first>[^:/]+)/(?P<second>[^:/]+))?")
_TIES = frozenset(
    {"tie", "tie (bothbad)", "both_bad", "bothbad", "both", "draw", "equal", "neither", "none", "nan", ""}
)


def column_of(expression: str) -> str:
    """The column of `winner=labels:1/0`: `labels`."""
    return _parts(expression)[0]


def is_tie(value: Any) -> bool:
    """Whether a value says that neither answer is preferred."""
    return value is None or str(value).strip().lower() in _TIES


def sides(value: Any, columns: Mapping[str, str], place: str) -> tuple[str, str] | None:
    """The columns of the better and of the worse answer; None for a tie.

    Args:
        value: of the column that says it.
        columns: the column map, with `first`, `second` and `winner`.
        place: of the row, for messages.

    The value means an answer where the map says so (`labels:1/0`). Without that, it means the column that it names
    (`response_0`), or of whose name it is the end after the last `_` (`0`, `a`; also behind a word: `model_a`). Case does not
    count.

    Raises:
        DataError: the value means neither answer and is no tie.
    """
    first, second = columns["first"], columns["second"]
    column, first_value, second_value = _parts(columns["winner"])
    given = plain(value)
    if first_value is not None and second_value is not None:
        meanings = {plain(first_value): (first, second), plain(second_value): (second, first)}
    else:
        meanings = dict.fromkeys(_names(first), (first, second)) | dict.fromkeys(_names(second), (second, first))
        if given not in meanings and "_" in given:
            given = given.rpartition("_")[2]
    if given in meanings:
        return meanings[given]
    if is_tie(value):
        return None
    raise DataError(
        f"winner (column {column}) at {place} is {value!r}, which means neither {first} nor {second}",
        hint=f"say which values mean the first and the second: --columns winner={column}:A/B",
    )


def _parts(expression: str) -> tuple[str, str | None, str | None]:
    match = _EXPRESSION.fullmatch(expression)
    assert match is not None
    return match["column"], match["first"], match["second"]


def plain(value: Any) -> str:
    """A value as text, in lower case; numbers of tables with gaps (`1.0`) as whole ones."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _names(column: str) -> set[str]:
    name = column.lower()
    return {name, name.rpartition("_")[2]}
