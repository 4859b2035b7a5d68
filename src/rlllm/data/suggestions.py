"""Which columns an error may suggest for a field: those whose values could be what the field holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.data import preference

_ABOUT = re.compile(
    r"(?:^|_)(?:id|ids|idx|index|uid|uuid|guid|url|urls|uri|link|lang|language|date|time|timestamp|created|updated|model|split|subset"
    r"|hash|md5|sha|sha256|license|domain|path|file|filename|author|user|worker|version|role|status|seed)(?:_|$)|(?<=[a-z])Id$",
    re.IGNORECASE,
)
"""Names of columns that describe a row, and hold nothing to learn from."""
_LABELS = {"true", "false", "1", "0", "yes", "no"}
_SIDES = re.compile(r"(?P<stem>.+?)_?(?P<end>[abAB012])")
_SIDE_ENDS = (("a", "b"), ("A", "B"), ("0", "1"), ("1", "2"))


def could_hold(field: str, column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column of these rows could hold a record field, by its name and the type of its values."""
    values = [row[column] for row in rows if row.get(column) not in (None, "")]
    if not values:
        return False
    if field == "label":
        return all(str(value).strip().lower() in _LABELS for value in values)
    if field == "margin":
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if field in ("steps", "labels"):
        kinds = str if field == "steps" else bool | int | float
        return all(isinstance(value, list) and all(isinstance(item, kinds) for item in value) for value in values)
    if _ABOUT.search(column):
        return False
    if field == "answer":
        return all(isinstance(value, str | int | float) for value in values)
    return all(_is_text(value) or (field != "text" and _is_dialogue(value)) for value in values)


def two_answers(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, str] | None:
    """The map of two answers beside each other (`response_a`, `response_b`) and of the column that may say which is better.

    None where there are no two such columns.
    """
    ends: dict[str, dict[str, str]] = {}
    for name in names:
        if (match := _SIDES.fullmatch(name)) and could_hold("chosen", name, rows):
            ends.setdefault(match["stem"], {})[match["end"]] = name
    for by_end in ends.values():
        for first, second in _SIDE_ENDS:
            if first in by_end and second in by_end:
                sides = {by_end[first], by_end[second]}
                winner = next((name for name in names if name not in sides and _may_say_which(name, rows)), "COLUMN")
                values = {preference.plain(row.get(winner)) for row in rows if not preference.is_tie(row.get(winner))}
                known = values and all(value.rpartition("_")[2] in (first.lower(), second.lower()) for value in values)
                named = winner if known else f"{winner}:FIRST/SECOND"
                return {"first": by_end[first], "second": by_end[second], "winner": named}
    return None


def _may_say_which(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    words = ("winner", "better", "preferred", "preference", "vote", "label", "choice", "best")
    values = [row[column] for row in rows if row.get(column) is not None]
    return any(word in column.lower() for word in words) and all(isinstance(value, str | int) for value in values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_dialogue(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) for turn in value)
