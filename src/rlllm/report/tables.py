"""Cells and tables of estimates: a number, its interval in words and drawn, and a change. Shared by all result tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from rlllm.report.axes import ticks
from rlllm.report.charts import whisker_axis, whiskers
from rlllm.report.markup import Child, Html, tag
from rlllm.report.wording import DASH, fixed, is_number, p_value

IntervalJson = Mapping[str, Any]
"""{"estimate", "low", "high", "n", "method"}; a bound that is not known is None."""
Head = tuple[Child, str]
"""Column head and the class of its cells."""
_Pair = tuple[IntervalJson | None, IntervalJson | None]
"""Before and after."""


def table(heads: Sequence[Head], rows: Iterable[Html], *, unit: bool) -> Html:
    """A table whose roles are spelled out, because the narrow layout turns rows into blocks and would drop them.

    unit: all drawings share the axis in the head, so the wide layout hides the one in each cell.
    """
    columns = [tag("th", head, scope="col", role="columnheader", class_=kind or None) for head, kind in heads]
    head = tag("thead", tag("tr", columns, role="row"), role="rowgroup")
    body = tag("tbody", rows, role="rowgroup")
    return tag("table", head, body, role="table", class_="cards unit" if unit else "cards")


def row(name: Child, note: str, cells: Iterable[Child], *, repeated: bool = False) -> Html:
    """A row with its head; a name that only repeats the one above is shown on narrow screens only."""
    title = tag("span", name, class_="stage repeated" if repeated else "stage")
    return tag("tr", tag("th", title, tag("small", note), scope="row", role="rowheader"), cells, role="row")


def cell(label: str, content: Child, kind: str | None = None) -> Html:
    return tag("td", content, role="cell", data_label=label, class_=kind)


def drawn_head(pairs: Iterable[_Pair], *, paired: bool) -> tuple[Head, bool]:
    """Head of the column of drawings, with a common axis if every pair fits on 0 to 1, and whether it does."""
    unit = all(_scale(*pair) == (0.0, 1.0) for pair in pairs)
    legend: Child = "95 % interval"
    if paired:
        legend = [legend, ", ", tag("span", "○ before", class_="key"), " ", tag("span", "● after", class_="key after")]
    return ([legend, whisker_axis(0, 1) if unit else None], "drawn"), unit


def pair_cells(before: IntervalJson | None, after: IntervalJson | None) -> list[Html]:
    """Before, after, and both drawn."""
    return [
        cell("Before", estimate(before), "num"),
        cell("After", estimate(after, strong=True), "num"),
        cell("95 % interval", _drawing(before, after), "drawn"),
    ]


def single_cells(value: IntervalJson, among: Sequence[IntervalJson] = (), label: str = "Estimate") -> list[Html]:
    """An estimate, and its drawing, on one scale with those `among` which it stands."""
    return [
        cell(label, estimate(value, strong=True), "num"),
        cell("95 % interval", _drawing(None, value, among), "drawn"),
    ]


def change_cell(difference: IntervalJson | None, p: float | None, label: str = "Change") -> Html:
    """A paired difference with its interval and p-value, as far as they are known."""
    shown: Child = p_value(p) if p is not None else DASH
    if difference and is_number(difference.get("estimate")):
        small = _bounds(difference, signed=True) + (f", {p_value(p)}" if p is not None else "")
        amount = fixed(difference["estimate"], _decimals(difference), signed=True)
        shown = [tag("b", amount), tag("small", small)]
    return cell(label, shown, "num")


def estimate(value: IntervalJson | None, *, strong: bool = False) -> Child:
    """A number over its interval; a dash where it is not known."""
    if not _known(value):
        return DASH
    shown = fixed(value["estimate"], _decimals(value))
    return [tag("b", shown) if strong else tag("span", shown), tag("small", _bounds(value))]


def signed_bounds(value: IntervalJson) -> str:
    """`+0.05 to +0.25`, with two decimals."""
    return " to ".join(fixed(value.get(end), signed=True) for end in ("low", "high"))


def signed_estimate(value: IntervalJson, *, strong: bool = False) -> list[Html]:
    """A difference over its interval, with signs and two decimals."""
    return [tag("b" if strong else "span", fixed(value["estimate"], signed=True)), tag("small", signed_bounds(value))]


def _bounds(value: IntervalJson, *, signed: bool = False) -> str:
    low, high = value.get("low"), value.get("high")
    if low is None and high is None:
        return "no interval" if value.get("method") == "no interval" else "interval unknown"
    digits = _decimals(value)
    ends = ("?" if end is None else fixed(end, digits, signed=signed) for end in (low, high))
    return " to ".join(ends)


def _decimals(value: IntervalJson) -> int:
    """Two, or three where two would hide most of it."""
    return 2 if max(map(abs, _numbers(value)), default=0.0) >= 0.095 else 3


def _drawing(before: IntervalJson | None, after: IntervalJson | None, among: Sequence[IntervalJson] = ()) -> Child:
    if not _known(before) and not _known(after):
        return None
    low, high = _scale(before, after, *among)
    return [whiskers(before, after, low, high), whisker_axis(low, high)]


def _known(value: IntervalJson | None) -> TypeGuard[IntervalJson]:
    return bool(value) and is_number((value or {}).get("estimate"))


def _numbers(*values: IntervalJson | None) -> list[float]:
    values_given = [value.get(name) for value in values if value for name in ("estimate", "low", "high")]
    return [number for number in values_given if is_number(number) and math.isfinite(number)]


def _scale(*values: IntervalJson | None) -> tuple[float, float]:
    """0 to 1 where everything lies there, else round numbers around what there is."""
    numbers = _numbers(*values)
    if all(0 <= number <= 1 for number in numbers):
        return 0.0, 1.0
    marks = ticks(min(numbers), max(numbers), 2)
    return marks[0], marks[-1]
