"""Tables of results: before and after training, or the tasks of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.report.markup import Html, join
from rlllm.report.tables import Head, cell, change_cell, drawn_head, pair_cells, row, single_cells, table
from rlllm.report.wording import DASH, TIMES, count


def results_tables(results: Mapping[str, Any]) -> Html | None:
    """The tables for results.json: its `measures` (before and after) and its `tasks` (an evaluation); None if neither."""
    parts = [_measures(results.get("measures") or []), _tasks(results.get("tasks") or {})]
    return join(parts) if any(parts) else None


def _measures(measures: Sequence[Mapping[str, Any]]) -> Html | None:
    """`{"name", "before", "after", "difference", "higher_is_better"}`, each an interval or None."""
    if not measures:
        return None
    interval_head, unit = drawn_head(
        [(measure.get("before"), measure.get("after")) for measure in measures], paired=True
    )
    heads: list[Head] = [("Measure", ""), ("Before", "num"), ("After", "num"), interval_head, ("Change", "num")]
    rows = []
    for measure in measures:
        before, after, difference = (measure.get(name) for name in ("before", "after", "difference"))
        notes = [count(after["n"], "item")] if after and isinstance(after.get("n"), int) else []
        notes += [] if measure.get("higher_is_better", True) else ["lower is better"]
        cells = [*pair_cells(before, after), change_cell(difference, (difference or {}).get("p_value"))]
        rows.append(row(str(measure.get("name")), ", ".join(notes), cells))
    return table(heads, rows, unit=unit)


def _tasks(tasks: Mapping[str, Any]) -> Html | None:
    measured = [
        (task, details, measure, value)
        for task, details in tasks.items()
        for measure, value in (details.get("values") or {}).items()
    ]
    if not measured:
        return None
    interval_head, unit = drawn_head([(None, value) for *_, value in measured], paired=False)
    heads: list[Head] = [("Task", ""), ("Measure", ""), ("Estimate", "num"), interval_head, ("Method", "")]
    rows = []
    for position, (task, details, measure, value) in enumerate(measured):
        same = position > 0 and measured[position - 1][0] == task
        cells = [cell("Measure", measure), *single_cells(value), cell("Method", str(value.get("method", DASH)))]
        rows.append(row(task, "" if same else size(details), cells, repeated=same))
    return table(heads, rows, unit=unit)


def further(details: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a task measured beside its values and what it was compared with: every other estimate, one level down as well."""
    estimates: dict[str, Mapping[str, Any]] = {}
    for key, value in details.items():
        if key in ("values", "against") or not isinstance(value, Mapping):
            continue
        inside = {key.replace("_", " "): value} if "estimate" in value else value
        estimates |= {name: part for name, part in inside.items() if isinstance(part, Mapping) and "estimate" in part}
    return estimates


def further_table(results: Mapping[str, Any]) -> Html | None:
    """A table of `further` for every task of an evaluation; None where there is nothing further."""
    tasks = {task: {"values": further(details)} for task, details in (results.get("tasks") or {}).items()}
    return _tasks(tasks)


def size(details: Mapping[str, Any]) -> str:
    """How many problems, and how many samples of each."""
    amounts = [("items", "item"), ("samples", "sample")]
    return f" {TIMES} ".join(count(details[key], noun) for key, noun in amounts if isinstance(details.get(key), int))
