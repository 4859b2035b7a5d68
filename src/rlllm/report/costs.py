"""Table of costs: time and tokens of each run, as numbers and as bars on one scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.runs import Run
from rlllm.report.axes import drawing, linear, place
from rlllm.report.markup import Html, tag
from rlllm.report.series import Series
from rlllm.report.tables import Head, cell, row, table
from rlllm.report.wording import DASH, duration, is_number, number

_BAR_WIDTH, _BAR_HEIGHT = 120, 10


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one run; None where it was not written down."""

    seconds: float | None
    """Of the whole run, else of its training steps."""
    tokens: float | None
    """Prompts and completions of training; completions of an evaluation."""
    steps: int | None
    device: str | None


def _costs_of(run: Run, env: Mapping[str, Any]) -> Costs:
    """Read the costs from the run's own files."""
    metrics, tasks = run.metrics(), list((run.results.get("tasks") or {}).values())
    whole = run.status.get("seconds")
    seconds = whole if is_number(whole) else _last(metrics, "time")
    tokens = _last(metrics, "num_tokens")
    if tokens is None:
        means = [task for task in tasks if is_number(task.get("mean_tokens"))]
        tokens = sum(task["mean_tokens"] * task["items"] * task["samples"] for task in means) if means else None
    steps = _last(metrics, "step")
    device = env.get("device")
    return Costs(seconds, tokens, int(steps) if steps is not None else None, str(device) if device else None)


def costs_table(series: Sequence[Series], envs: Sequence[Mapping[str, Any]]) -> Html | None:
    """One row a run; None where no run wrote anything down."""
    costs = [_costs_of(member.run, env) for member, env in zip(series, envs, strict=True)]
    if not any(cost.seconds or cost.tokens for cost in costs):
        return None
    columns = [column for column in _COLUMNS if any(column[1](cost) is not None for cost in costs)]
    heads: list[Head] = [("Run", "")]
    for title, _, _, barred in columns:
        heads += [(title, "num"), *([("", "bar")] if barred else [])]
    rows = []
    for member, cost in zip(series, costs, strict=True):
        cells: list[Html] = []
        for title, value, shown, barred in columns:
            cells.append(cell(title, shown(value(cost)), "num"))
            cells += [_barred(title, value(cost), [value(other) for other in costs], shown)] if barred else []
        rows.append(row(member.label(), cost.device or "", cells))
    return table(heads, rows, unit=False)


_COLUMNS: tuple[tuple[str, Callable[[Costs], float | None], Callable[[float | None], str], bool], ...] = (
    ("Steps", lambda cost: cost.steps, number, False),
    ("Time", lambda cost: cost.seconds, duration, True),
    ("Tokens", lambda cost: cost.tokens, lambda value: DASH if value is None else f"{value:,.0f}", True),
    (
        "Tokens a second",
        lambda cost: cost.tokens / cost.seconds if cost.tokens and cost.seconds else None,
        number,
        False,
    ),
)
"""Title, value, its words, and whether it has a bar; left out where no run has the value."""


def _barred(
    title: str, value: float | None, among: Sequence[float | None], shown: Callable[[float | None], str]
) -> Html:
    largest = max((other for other in among if other is not None), default=0.0)
    bar = _bar(f"{title}: {shown(value)}", value / largest) if value is not None and largest > 0 else None
    return cell("", bar, "bar")


def _bar(described: str, share: float) -> Html:
    width = linear(0, 1, 0, _BAR_WIDTH)(share)
    rectangle = tag("rect", x=0, y=0, width=place(max(width, 1)), height=_BAR_HEIGHT, class_="amount")
    return drawing(described, rectangle, width=_BAR_WIDTH, height=_BAR_HEIGHT, kind="amounts")


def _last(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return max((row[name] for row in rows if is_number(row.get(name))), default=None)
