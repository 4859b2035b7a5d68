"""Tables of estimates with their intervals: the summary of a pipeline, and the results of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.report.charts import whisker_axis, whiskers
from rlllm.core.report.markup import Child, Html, tag
from rlllm.core.report.scales import ticks
from rlllm.core.report.wording import DASH, TIMES, count, duration, fixed, is_number, p_value

IntervalJson = Mapping[str, Any]
"""{"estimate", "low", "high", "n", "method"}; a bound that is not known is None."""


_LEGEND = ("95 % interval, ", tag("span", "○ before", class_="key"), " ", tag("span", "● after", class_="key after"))


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One stage of a pipeline and the number it is judged by."""

    stage: str
    measure: str
    """What the numbers are, e.g. "held-out pass@1"."""
    after: IntervalJson | None = None
    before: IntervalJson | None = None
    difference: IntervalJson | None = None
    """Paired difference after minus before, where there is one."""
    p: float | None = None
    seconds: float | None = None
    ok: bool = True
    """The stage's verdict."""


def summary_table(rows: Sequence[SummaryRow]) -> Html:
    """Stage, measure, before, after, both drawn, change, time, verdict; becomes cards on a narrow screen."""
    unit = all(_scale(row.before, row.after) == (0.0, 1.0) for row in rows if row.before or row.after)
    heads: list[tuple[Child, str]] = [
        ("Stage", ""),
        ("Before", "num"),
        ("After", "num"),
        ([_LEGEND, whisker_axis(0, 1) if unit else None], "drawn"),
        ("Change", "num"),
        ("Time", "num"),
        ("Verdict", ""),
    ]
    return _table("summary", heads, [_summary_row(row, unit) for row in rows])


def _summary_row(row: SummaryRow, unit: bool) -> Html:
    drawn = _drawing(row.before, row.after, labelled=not unit)
    verdict = tag("span", "✓ ok" if row.ok else "✕ failed", class_="ok" if row.ok else "failed")
    return _row(
        tag("th", tag("span", row.stage, class_="stage"), tag("small", row.measure), scope="row", role="rowheader"),
        [
            _cell("Before", _estimate(row.before), "num"),
            _cell("After", _estimate(row.after, strong=True), "num"),
            _cell("95 % interval", drawn, "drawn"),
            _cell("Change", _change(row), "num"),
            _cell("Time", duration(row.seconds), "num"),
            _cell("Verdict", verdict),
        ],
    )


def results_table(results: Mapping[str, Any]) -> Html | None:
    """Every task and measure of an evaluation; a baseline with tasks of its own fills the column before."""
    tasks: Mapping[str, Any] = results.get("tasks") or {}
    baseline = results.get("baseline")
    before_tasks = baseline.get("tasks", {}) if isinstance(baseline, Mapping) else {}
    heads: list[tuple[Child, str]] = [("Task", ""), ("Measure", "")]
    heads += [("Before", "num")] if before_tasks else []
    heads += [("After" if before_tasks else "Estimate", "num"), ("95 % interval", "drawn"), ("Method", "")]
    rows = []
    for task, details in tasks.items():
        before = before_tasks.get(task, {}).get("values", {})
        for position, (measure, value) in enumerate((details.get("values") or {}).items()):
            rows.append(_result_row(task, details, measure, value, before.get(measure), bool(before_tasks), position))
    return _table("results", heads, rows) if rows else None


def _result_row(
    task: str,
    details: Mapping[str, Any],
    measure: str,
    value: IntervalJson,
    before: IntervalJson | None,
    paired: bool,
    position: int,
) -> Html:
    amounts = [("items", "item"), ("samples", "sample")]
    size = f" {TIMES} ".join(count(details[key], one) for key, one in amounts if isinstance(details.get(key), int))
    name = tag("span", task, class_="stage"), tag("small", size)
    return _row(
        tag("th", name, scope="row", role="rowheader", class_="" if position == 0 else "again"),
        [
            _cell("Measure", measure),
            _cell("Before", _estimate(before), "num") if paired else None,
            _cell("After" if paired else "Estimate", _estimate(value, strong=True), "num"),
            _cell("95 % interval", _drawing(before, value, labelled=True), "drawn"),
            _cell("Method", str(value.get("method", DASH))),
        ],
    )


def _table(name: str, heads: Sequence[tuple[Child, str]], rows: Iterable[Html]) -> Html:
    """A table whose roles are spelled out, because the narrow layout turns rows into blocks and would drop them."""
    columns = [tag("th", head, scope="col", role="columnheader", class_=kind) for head, kind in heads]
    head = tag("thead", tag("tr", columns, role="row"), role="rowgroup")
    return tag("table", head, tag("tbody", rows, role="rowgroup"), role="table", class_=f"cards {name}")


def _row(*cells: Child) -> Html:
    return tag("tr", cells, role="row")


def _cell(label: str, content: Child, kind: str = "") -> Html:
    return tag("td", content, role="cell", data_label=label, class_=kind)


def _estimate(value: IntervalJson | None, *, strong: bool = False) -> Child:
    if not value or not is_number(value.get("estimate")):
        return DASH
    shown = fixed(value["estimate"])
    return [tag("b", shown) if strong else tag("span", shown), tag("small", _range(value))]


def _change(row: SummaryRow) -> Child:
    if not row.difference or not is_number(row.difference.get("estimate")):
        return p_value(row.p) if row.p is not None else DASH
    small = _range(row.difference, signed=True) + (f", {p_value(row.p)}" if row.p is not None else "")
    return [tag("b", fixed(row.difference["estimate"], signed=True)), tag("small", small)]


def _range(value: IntervalJson, *, signed: bool = False) -> str:
    low, high = (value.get(end) for end in ("low", "high"))
    if low is None or high is None:
        return "interval unknown"
    return f"{fixed(low, signed=signed)} to {fixed(high, signed=signed)}"


def _drawing(before: IntervalJson | None, after: IntervalJson | None, *, labelled: bool) -> Child:
    if not (before and is_number(before.get("estimate"))) and not (after and is_number(after.get("estimate"))):
        return None
    low, high = _scale(before, after)
    return [whiskers(before, after, low, high), whisker_axis(low, high) if labelled else None]


def _scale(*values: IntervalJson | None) -> tuple[float, float]:
    """0 to 1 where everything lies there, else round numbers around what there is."""
    ends = [value.get(name) for value in values if value for name in ("estimate", "low", "high")]
    known = [end for end in ends if is_number(end) and math.isfinite(end)]
    if all(0 <= end <= 1 for end in known):
        return 0.0, 1.0
    marks = ticks(min(known), max(known), 2)
    return marks[0], marks[-1]
