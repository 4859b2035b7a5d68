"""Comparison of two evaluations, item by item.

Two models that answered the same problems are compared on each problem, which cancels the difficulty of the problems
and needs far fewer of them than two separate intervals. Evaluations of different problems are refused, not averaged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.runs import Run, read_jsonl
from rlllm.evals.metrics import score_bounds
from rlllm.evals.statistics import (
    Interval,
    PairedDifference,
    item_means,
    mcnemar_exact,
    mean_interval,
    paired_difference,
)

Items = Mapping[str, Sequence[float]]
"""Item id -> the scores of its completions."""


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """One task, before (a) against after (b), over the items both have."""

    task: str
    metric: str
    items: int
    """Paired items."""
    only_a: int
    only_b: int
    before: Interval
    after: Interval
    difference: PairedDifference
    gained: list[str]
    """Ids solved after but not before; see `compare`."""
    lost: list[str]
    p_gained_lost: float
    """McNemar's exact p-value of gained against lost."""

    def to_json(self) -> dict[str, Any]:
        intervals = {name: getattr(self, name).to_json() for name in ("before", "after", "difference")}
        return {**asdict(self), **intervals}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluation runs over the tasks they share."""

    a: str
    b: str
    tasks: list[TaskComparison]
    only_a: list[str]
    """Tasks that only the first run has."""
    only_b: list[str]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "tasks": [task.to_json() for task in self.tasks]}


def compare(a: Items, b: Items, *, task: str = "", metric: str = "", seed: int = 0) -> TaskComparison:
    """Pair two sets of items by id and compare their mean scores.

    An item counts as solved when its mean score is at least one half: by half of its samples. Scores outside of [0, 1]
    have no such mark; there an item is gained when its mean rose and lost when it fell.

    Args:
        a, b: before and after; items that only one of them has are counted and left out.

    Raises:
        ConfigError: no item in common.
        DataError: an item without scores, or with one that is not finite.
    """
    shared = [name for name in a if name in b]
    if not shared:
        raise ConfigError(
            f"no items in common{f' in task {task}' if task else ''}",
            given=f"{len(a)} items against {len(b)}",
            hint="evaluate both models on the same task, rows and seed",
        )
    before, after = [a[name] for name in shared], [b[name] for name in shared]
    means_a, means_b = item_means(before), item_means(after)
    bounds = score_bounds(before, after)
    levels = list(zip(shared, _levels(means_a, bool(bounds)), _levels(means_b, bool(bounds)), strict=True))
    gained = [name for name, old, new in levels if new > old]
    lost = [name for name, old, new in levels if new < old]
    return TaskComparison(
        task=task,
        metric=metric,
        items=len(shared),
        only_a=len(a) - len(shared),
        only_b=len(b) - len(shared),
        before=mean_interval(before, seed, bounds=bounds),
        after=mean_interval(after, seed, bounds=bounds),
        difference=paired_difference(means_a, means_b, seed, bounds=bounds),
        gained=gained,
        lost=lost,
        p_gained_lost=mcnemar_exact(len(gained), len(lost)),
    )


def compare_runs(a: Run, b: Run, *, seed: int = 0) -> Comparison:
    """Compare two evaluation runs over every task that both have.

    Raises:
        RunDirectoryError: a directory holds no evaluation.
        ConfigError: no task in common, or a task whose problems differ between the runs.
        DataError: an item without scores, or with one that is not finite.
    """
    tasks_a, tasks_b = _tasks(a), _tasks(b)
    shared = [name for name in tasks_a if name in tasks_b]
    if not shared:
        raise ConfigError(
            "the two evaluations have no task in common",
            given=f"{', '.join(tasks_a)} against {', '.join(tasks_b)}",
            hint="evaluate both models with the same eval tasks",
        )
    _check_hashes(shared, a, tasks_a, b, tasks_b)
    items_a, items_b = _items(a), _items(b)
    compared = [
        compare(
            items_a.get(name, {}), items_b.get(name, {}), task=name, metric=tasks_a[name].get("metric", ""), seed=seed
        )
        for name in shared
    ]
    return Comparison(
        a=str(a.path),
        b=str(b.path),
        tasks=compared,
        only_a=[name for name in tasks_a if name not in tasks_b],
        only_b=[name for name in tasks_b if name not in tasks_a],
    )


def _levels(means: list[float], unit: bool) -> list[float]:
    """What must rise for an item to be gained: solved or not, or the mean itself where there is no such mark."""
    if not unit:
        return means
    return [float(mean >= 0.5 or math.isclose(mean, 0.5)) for mean in means]


def _tasks(run: Run) -> dict[str, dict[str, Any]]:
    tasks = run.results.get("tasks")
    if not tasks or not (run.path / "items.jsonl").exists():
        raise RunDirectoryError(
            "no evaluation in this directory: results.json or items.jsonl is missing",
            given=run.path,
            hint=f"make one with: rlllm eval --model {run.path}",
        )
    return tasks


def _check_hashes(names: list[str], a: Run, tasks_a: dict[str, Any], b: Run, tasks_b: dict[str, Any]) -> None:
    for name in names:
        first, second = tasks_a[name].get("hash"), tasks_b[name].get("hash")
        if first != second:
            raise ConfigError(
                f"task {name} is not the same in both evaluations (its problems, reward or sampling differ)",
                given=f"{a.path} has hash {first}, {b.path} has hash {second}",
                hint="evaluate both models with the same task settings and seed",
            )


def _items(run: Run) -> dict[str, dict[str, list[float]]]:
    """Scores by task and id; a problem that occurs twice is one item with the samples of both."""
    tasks: dict[str, dict[str, list[float]]] = {}
    for row in read_jsonl(run.path / "items.jsonl"):
        tasks.setdefault(row["task"], {}).setdefault(row["id"], []).extend(row["scores"])
    return tasks
