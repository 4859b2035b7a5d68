"""Pass rate by difficulty: early and late in a run, for prompts of one level or of one first pass rate.

A completion passes where the first reward gives at least 1. Prompts are grouped by the level their data give them; without one,
by how often their first rollout passed, and then only later rollouts count, or chance alone would show progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.records import fingerprint
from rlllm.report.axes import Point, ends
from rlllm.report.charts import sparkline
from rlllm.report.markup import Html, join, tag
from rlllm.report.wording import DASH, fixed, is_number

_FIRST_PASS_GROUPS = (
    "never passed at first",
    "passed less than half at first",
    "passed half or more at first",
    "always passed at first",
)


@dataclass(slots=True)
class _Passes:
    """Passing completions of one group of prompts."""

    prompts: set[str] = field(default_factory=set)
    by_step: dict[float, list[int]] = field(default_factory=dict)
    """Step -> [passed, judged]."""

    def add(self, step: float, prompt: str, passed: bool) -> None:
        self.prompts.add(prompt)
        cell = self.by_step.setdefault(step, [0, 0])
        cell[0] += passed
        cell[1] += 1

    @property
    def judged(self) -> int:
        return sum(judged for _, judged in self.by_step.values())

    def points(self) -> list[Point]:
        return [(step, passed / judged) for step, (passed, judged) in sorted(self.by_step.items())]


@dataclass(slots=True)
class Difficulty:
    """Running totals of one pass over samples.jsonl."""

    levels: dict[str, _Passes] = field(default_factory=dict)
    visits: dict[str, dict[float, list[int]]] = field(default_factory=dict)
    """Prompt -> step -> [passed, judged]; only where no level is given."""

    def add(self, row: Mapping[str, Any]) -> None:
        value = _first_score(row)
        if value is None:
            return
        step, prompt, level = float(row.get("step") or 0), fingerprint(row.get("prompt")), row.get("level")
        if level is not None:
            self.levels.setdefault(f"level {level}", _Passes()).add(step, prompt, value >= 1)
            return
        cell = self.visits.setdefault(prompt, {}).setdefault(step, [0, 0])
        cell[0] += value >= 1
        cell[1] += 1

    def groups(self) -> dict[str, _Passes]:
        """Name -> passes, the easiest-sounding order left as the names sort; groups by first visit in order of ease."""
        if self.levels:
            return dict(sorted(self.levels.items(), key=lambda item: _natural(item[0])))
        passes_by_name = {name: _Passes() for name in _FIRST_PASS_GROUPS}
        for prompt, steps in self.visits.items():
            first, *later = sorted(steps.items())
            passed, judged = first[1]
            group = passes_by_name[
                _FIRST_PASS_GROUPS[0 if not passed else 3 if passed == judged else 1 + (2 * passed >= judged)]
            ]
            for step, (again, seen) in later:
                group.prompts.add(prompt)
                cell = group.by_step.setdefault(step, [0, 0])
                cell[0] += again
                cell[1] += seen
        return {name: group for name, group in passes_by_name.items() if group.judged}


def difficulty_table(difficulty: Difficulty) -> Html | None:
    """Pass rate of each group of prompts, early and late; None where there is nothing to compare."""
    groups = {name: passes for name, passes in difficulty.groups().items() if len(passes.by_step) > 1}
    if not groups:
        return None
    heads = ["Prompts", "How many", "First tenth", "Last tenth", "Over the run"]
    kinds = ["", "num", "num", "num", ""]
    columns = [tag("th", head, scope="col", class_=kind or None) for head, kind in zip(heads, kinds, strict=True)]
    body = [_group_row(name, passes) for name, passes in groups.items()]
    inner = tag("table", tag("thead", tag("tr", columns)), tag("tbody", body))
    scrolling = tag("div", inner, class_="scroll", role="region", aria_label="Pass rate by difficulty", tabindex="0")
    if difficulty.levels:
        return scrolling
    note = (
        "Grouped by the first rollout of each prompt, which is not counted again; chance moves both ends to the middle."
    )
    return join([scrolling, tag("p", note, class_="note")])


def _first_score(row: Mapping[str, Any]) -> float | None:
    """Value of the reward that decides what passes."""
    scores = row.get("rewards")
    first = next(iter(scores.values()), None) if isinstance(scores, Mapping) else None
    value = first.get("value") if isinstance(first, Mapping) else None
    return float(value) if is_number(value) and value == value else None


def _natural(name: str) -> tuple[float, str]:
    """Levels that are numbers in their order, other names after them."""
    text = name.removeprefix("level ")
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def _group_row(name: str, passes: _Passes) -> Html:
    points = passes.points()
    first, last = ends(points) if points else (None, None)
    cells = [
        tag("td", f"{len(passes.prompts):,}", class_="num"),
        tag("td", fixed(first) if points else DASH, class_="num"),
        tag("td", tag("b", fixed(last)) if points else DASH, class_="num"),
        tag("td", sparkline(name, points) if points else None),
    ]
    return tag("tr", tag("th", name, scope="row"), cells)
