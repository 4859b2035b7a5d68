"""Comparison of two runs, or of several with the first, item by item: of evaluations, and of training runs as they ended.

Two models that answered the same problems are compared on each problem, which cancels the difficulty of the problems
and needs far fewer of them than two separate intervals. Runs with different problems are refused, not averaged. Among
several tasks and runs one difference is small by chance: p-values are also given as Holm corrects them over all of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import stdev
from typing import Any

from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.records import fingerprint
from rlllm.core.runs import Run, read_jsonl
from rlllm.evals.statistics.crossover import Crossover, crossover
from rlllm.evals.statistics.intervals import Interval, item_means, mean_interval, score_bounds
from rlllm.evals.statistics.length_control import controlled_difference
from rlllm.evals.statistics.paired_tests import PairedDifference, holm, mcnemar_exact, paired_difference
from rlllm.evals.statistics.power import detectable, minimum_detectable_effect

_MEASURED = "measured_after.json"
"""In the directory of a training run: its measures after training."""
_Items = Mapping[str, Sequence[float]]
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
    p_holm: float
    """p-value of the difference, corrected for all that were compared together; of one alone the same as its p-value."""
    crossover_k: Crossover | None
    """Where before overtakes after in pass@k; None where completions do not plainly pass or fail, or there is one a problem."""
    minimum_detectable_effect: float | None
    """The true difference that this comparison finds with probability 0.8 at 5 %; None where nothing tells its spread."""
    length_controlled: Interval | None
    """The difference among completions of like length in characters; None without texts, or where lengths do not overlap."""
    higher_is_better: bool = True

    def to_json(self) -> dict[str, Any]:
        names = ("before", "after", "difference", "length_controlled")
        intervals = {name: getattr(self, name) for name in names}
        return {**asdict(self), **{name: interval and interval.to_json() for name, interval in intervals.items()}}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The items of one task in one run."""

    scores: dict[str, list[float]] = field(default_factory=dict)
    lengths: dict[str, list[float]] = field(default_factory=dict)
    """Characters of the completions; empty where the metric writes none, or not one for each score."""


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


def compare(
    a: _Items,
    b: _Items,
    *,
    lengths: tuple[_Items, _Items] = ({}, {}),
    task: str = "",
    metric: str = "",
    seed: int = 0,
    higher_is_better: bool = True,
) -> TaskComparison:
    """Pair two sets of items by id and compare their mean scores.

    An item counts as solved when its mean score is at least one half: by half of its samples. Scores outside of [0, 1]
    have no such mark, nor have losses; there an item is gained when its mean became better and lost when it became worse.

    Args:
        a, b: before and after; items that only one of them has are counted and left out.
        lengths: of the completions of a and of b, by item; without them nothing is controlled for length.

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
    bounds = score_bounds(before, after) if higher_is_better else None  # a loss below 1 is bounded by nothing
    levels = list(zip(shared, _levels(means_a, bool(bounds)), _levels(means_b, bool(bounds)), strict=True))
    rose = [name for name, old, new in levels if new > old]
    fell = [name for name, old, new in levels if new < old]
    gained, lost = (rose, fell) if higher_is_better else (fell, rose)
    difference = paired_difference(means_a, means_b, seed, bounds=bounds)
    return TaskComparison(
        task=task,
        metric=metric,
        items=len(shared),
        only_a=len(a) - len(shared),
        only_b=len(b) - len(shared),
        before=mean_interval(before, seed, bounds=bounds),
        after=mean_interval(after, seed, bounds=bounds),
        difference=difference,
        gained=gained,
        lost=lost,
        p_gained_lost=mcnemar_exact(len(gained), len(lost)),
        p_holm=difference.p_value,
        crossover_k=_crossover(before, after, seed),
        minimum_detectable_effect=_smallest_effect(before, after, bool(bounds)),
        length_controlled=_length_controlled(shared, (before, after), lengths, seed) if bounds else None,
        higher_is_better=higher_is_better,
    )


def compare_many(runs: Sequence[Run], *, seed: int = 0) -> list[Comparison]:
    """Compare the first run with each of the others; `p_holm` corrects over all tasks of all of them.

    Raises:
        ConfigError: fewer than two runs; and whatever `compare_runs` raises.
    """
    if len(runs) < 2:
        raise ConfigError("a comparison needs at least two runs", given=[str(run.path) for run in runs])
    return adjusted([compare_pair(runs[0], other, seed) for other in runs[1:]])


def adjusted(pairs: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with `p_holm` corrected over all tasks of all of them."""
    corrected = iter(holm([task.difference.p_value for pair in pairs for task in pair.tasks]))
    return [replace(pair, tasks=[replace(task, p_holm=next(corrected)) for task in pair.tasks]) for pair in pairs]


def compare_runs(a: Run, b: Run, *, seed: int = 0) -> Comparison:
    """Compare two runs over every task, or measure after training, that both have; `p_holm` corrects over the tasks.

    Raises:
        RunDirectoryError: a directory holds no evaluation, and no training run that was measured.
        ConfigError: no task in common, or a task whose problems differ between the runs.
        DataError: an item without scores, or with one that is not finite.
    """
    return compare_many([a, b], seed=seed)[0]


def compare_pair(a: Run, b: Run, seed: int) -> Comparison:
    """Two runs, with `p_holm` as if each task stood alone; for several, see `adjusted`. Raises as `compare_runs`."""
    tasks_a, tasks_b = _tasks(a), _tasks(b)
    shared = [name for name in tasks_a if name in tasks_b]
    if not shared:
        raise ConfigError(
            "the two runs have no task in common",
            given=f"{', '.join(tasks_a)} against {', '.join(tasks_b)}",
            hint="evaluate both models with the same eval tasks: rlllm eval --model RUN",
        )
    _check_hashes(shared, a, tasks_a, b, tasks_b)
    items_a, items_b = _items_of(a), _items_of(b)
    compared = []
    for name in shared:
        before, after = items_a.get(name, Evaluated()), items_b.get(name, Evaluated())
        lengths, details = (before.lengths, after.lengths), tasks_a[name]
        compared.append(
            compare(
                before.scores,
                after.scores,
                lengths=lengths,
                task=name,
                metric=details.get("metric", ""),
                seed=seed,
                higher_is_better=details.get("higher_is_better", True),
            )
        )
    return Comparison(
        a=str(a.path),
        b=str(b.path),
        tasks=compared,
        only_a=[name for name in tasks_a if name not in tasks_b],
        only_b=[name for name in tasks_b if name not in tasks_a],
    )


def _crossover(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], seed: int) -> Crossover | None:
    rows = [*before, *after]
    if min(map(len, rows)) < 2 or any(score not in (0.0, 1.0) for row in rows for score in row):
        return None
    counts = [[(len(row), int(sum(row))) for row in side] for side in (before, after)]
    return crossover(counts[0], counts[1], seed=seed)


def _smallest_effect(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], unit: bool) -> float | None:
    """From the spread of the differences; where there is none yet, from what is usual for accuracies."""
    means = item_means(before)
    differences = [new - old for old, new in zip(means, item_means(after), strict=True)]
    spread = stdev(differences) if len(differences) > 1 else 0.0
    if spread > 0:
        return detectable(spread / math.sqrt(len(differences)))
    if not unit:
        return None
    samples = min(len(row) for row in (*before, *after))
    rate = (math.fsum(means) + 1) / (len(means) + 2)
    return minimum_detectable_effect(len(means), samples, paired=True, rate=rate)


def _length_controlled(
    names: Sequence[str], scores: tuple[Any, Any], lengths: tuple[_Items, _Items], seed: int
) -> Interval | None:
    sizes = [[side.get(name, ()) for name in names] for side in lengths]
    for rows, sized in zip(scores, sizes, strict=True):
        if any(len(row) != len(row_lengths) for row, row_lengths in zip(rows, sized, strict=True)):
            return None
    return controlled_difference(*scores, *sizes, seed=seed)


def _levels(means: list[float], unit: bool) -> list[float]:
    """What must rise for an item to be gained: solved or not, or the mean itself where there is no such mark."""
    if not unit:
        return means
    return [float(mean >= 0.5 or math.isclose(mean, 0.5)) for mean in means]


def compares(run: Run) -> bool:
    """Whether a run holds what can be compared: an evaluation's items, or what was measured after training."""
    return _is_evaluation(run) or (run.path / _MEASURED).exists()


def _is_evaluation(run: Run) -> bool:
    return bool(run.results.get("tasks")) and (run.path / "items.jsonl").exists()


def _tasks(run: Run) -> dict[str, dict[str, Any]]:
    if _is_evaluation(run):
        return dict(run.results["tasks"])
    if not (run.path / _MEASURED).exists():
        raise RunDirectoryError(
            "no evaluation in this directory, and no training run that was measured",
            given=run.path,
            hint=f"make one with: rlllm eval --model {run.path}",
        )
    return {
        measure["name"]: {
            "metric": "after training",
            "hash": _identity(run, measure),
            "higher_is_better": measure["higher_is_better"],
        }
        for measure in run.read(_MEASURED)
    }


def _identity(run: Run, measure: Mapping[str, Any]) -> str:
    """What two training runs must share to be compared by a measure: problems, reward, and how completions were sampled.

    Without prompts, where nothing was sampled, the data and the number of rows.
    """
    config, lineage = run.config, run.read("lineage.json")
    if not measure["prompts"]:
        return fingerprint([lineage["data"]["hash"], len(measure["scores"])])
    settings = config["settings"]
    rewards = (lineage.get("rewards") or {}).get("names") or [None]
    judge = settings.get("eval_reward") or rewards[0]
    sampling = {key: value for key, value in (settings.get("rollout") or {}).items() if key != "group_size"}
    return fingerprint([measure["prompts"], measure["answers"], _judge_name(judge), sampling])


def _judge_name(judge: Any) -> Any:
    """The name of a reward that may be written with its settings."""
    return judge.get("name") if isinstance(judge, Mapping) else judge


def _check_hashes(names: list[str], a: Run, tasks_a: dict[str, Any], b: Run, tasks_b: dict[str, Any]) -> None:
    for name in names:
        first, second = tasks_a[name].get("hash"), tasks_b[name].get("hash")
        if first != second:
            raise ConfigError(
                f"task {name} is not the same in both runs (its problems, reward or sampling differ)",
                given=f"{a.path} has hash {first}, {b.path} has hash {second}",
                hint="evaluate both models with the same task settings and seed",
            )


def _items_of(run: Run) -> dict[str, Evaluated]:
    """Items of a run by task; those of a training run are named by their place."""
    if not _is_evaluation(run):
        return {measure["name"]: _measured(measure) for measure in run.read(_MEASURED)}
    tasks: dict[str, list[dict[str, Any]]] = {}
    for row in read_jsonl(run.path / "items.jsonl"):
        tasks.setdefault(row["task"], []).append(row)
    return {name: evaluated(rows) for name, rows in tasks.items()}


def _measured(measure: Mapping[str, Any]) -> Evaluated:
    """The problems of a measure that could be judged."""
    judged = {str(at): list(row) for at, row in enumerate(measure["scores"]) if row}
    texts = measure["completions"]
    lengths = {name: [float(len(text)) for text in texts[int(name)]] for name in judged} if texts else {}
    return Evaluated(judged, lengths)


def evaluated(rows: Iterable[Mapping[str, Any]]) -> Evaluated:
    """The items of one task; a problem that occurs twice is one item with the samples of both."""
    task = Evaluated()
    for row in rows:
        task.scores.setdefault(row["id"], []).extend(row["scores"])
        texts = row.get("completions") or []
        task.lengths.setdefault(row["id"], []).extend(float(len(text)) for text in texts)
    return task
