"""`prm-steps`: how often a process reward model finds the first wrong step of a worked solution, beside chance.

The unit is the solution. Labels follow the convention of the data: true up to the first wrong step, false from it on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import StepwiseSolution
from rlllm.evals.before_after import Measured
from rlllm.evals.items import record_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.statistics.intervals import Interval, mean_interval
from rlllm.evals.statistics.paired_tests import paired_difference
from rlllm.rewards.models.process_reward_model import RIGHT, ProcessModel, first_below

_AUC_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Judged:
    """One solution, and the chance of each of its steps to be right."""

    record: StepwiseSolution
    chances: list[float]

    @property
    def truth(self) -> int:
        """Index of the first wrong step; the number of steps where none is wrong."""
        return _first_false(self.record.labels)

    @property
    def found(self) -> float:
        """1 if the first step below one half is the first wrong one, or neither exists; else 0."""
        guess = first_below(self.chances)
        return float(self.truth == (len(self.chances) if guess is None else guess))

    @property
    def agreement(self) -> list[float]:
        """For each step 1 if its chance stands on its label's side of one half."""
        return [float((p >= RIGHT) == label) for p, label in zip(self.chances, self.record.labels, strict=True)]


def _measure(request: EvalRequest) -> Evaluation:
    """First wrong step found, beside chance; accuracy and AUC over steps. Definitions: `first_error_chance`, `step_auc`."""
    records = [record for record in request.records if isinstance(record, StepwiseSolution)]
    judged = _judge_steps(ProcessModel(request.path), records)
    correct = [solution.found for solution in judged]
    chance = first_error_chance([solution.record.labels for solution in judged])
    values = {
        "first wrong step found": mean_interval([[value] for value in correct], request.seed),
        f"chance ({chance.rule})": mean_interval([[value] for value in chance.scores], request.seed),
        "above chance": paired_difference(chance.scores, correct, request.seed).interval,
        "step accuracy": mean_interval([solution.agreement for solution in judged], request.seed),
    }
    auc = step_auc([(solution.record.labels, solution.chances) for solution in judged], request.seed)
    if auc is not None:
        values["step AUC"] = auc
    extra = {"unjudged": len(records) - len(judged), "chance_rule": chance.rule}
    return Evaluation([_item(solution) for solution in judged], values, extra)


def measure_steps(scorer: ProcessModel, records: Sequence[StepwiseSolution]) -> list[Measured]:
    """For before and after training: first wrong step found (its name tells chance on these items), step accuracy.

    Nothing where the model can read none of the solutions.
    """
    rows = scorer.chances([(record.prompt, record.steps) for record in records])
    if not any(rows):
        return []
    judged = [row and Judged(record, row) for record, row in zip(records, rows, strict=True)]
    chance = first_error_chance([record.labels for record in records])
    level = sum(chance.scores) / len(chance.scores)
    return [
        Measured(
            f"first wrong step found (chance {level:.2f})",
            [[solution.found] if solution else [] for solution in judged],
        ),
        Measured("step accuracy", [solution.agreement if solution else [] for solution in judged]),
    ]


def _judge_steps(scorer: ProcessModel, records: Sequence[StepwiseSolution]) -> list[Judged]:
    """Every solution that the model can read, with its steps' chances. Raises DataError if it can read none."""
    rows = scorer.chances([(record.prompt, record.steps) for record in records])
    judged = [Judged(record, row) for record, row in zip(records, rows, strict=True) if row]
    if not judged:
        raise DataError(
            f"no solution fits into the process reward model's {scorer.max_length} tokens",
            given=f"{len(records)} solutions",
        )
    return judged


def _first_false(labels: Sequence[bool]) -> int:
    """Index of the first False; the length where there is none."""
    return next((index for index, label in enumerate(labels) if not label), len(labels))


@dataclass(frozen=True, slots=True)
class _Chance:
    """What a guess that looks at no step's text would get: a score for each item, and the rule that gets it."""

    scores: list[float]
    rule: str


def first_error_chance(solutions: Sequence[Sequence[bool]]) -> _Chance:
    """The best guess of the first wrong step that reads nothing, chosen on these very items (which favours it).

    Candidates: always "none", always "step k" for each k, always "the last step", and a uniform guess over a solution's
    steps and "none" (its expected score, 1 / (steps + 1)).
    """
    truths = [_first_false(labels) for labels in solutions]
    sizes = [len(labels) for labels in solutions]
    rules = {
        "always none": [float(truth == size) for truth, size in zip(truths, sizes, strict=True)],
        "always the last step": [float(truth == size - 1) for truth, size in zip(truths, sizes, strict=True)],
        "uniform guess": [1 / (size + 1) for size in sizes],
    }
    for step in range(max(sizes)):
        rules[f"always step {step + 1}"] = [
            float(truth == step < size) for truth, size in zip(truths, sizes, strict=True)
        ]
    best = max(rules, key=lambda rule: sum(rules[rule]))
    return _Chance(rules[best], best)


def step_auc(solutions: Sequence[tuple[Sequence[bool], Sequence[float]]], seed: int = 0) -> Interval | None:
    """Probability that a right step scores above a wrong one, both drawn from all solutions; ties count half.

    The interval is a percentile bootstrap over solutions (1000 resamples). None if all steps have one label.
    Source: Hanley and McNeil, Radiology 143 (1982), 29 (the area under the ROC curve as a rank statistic).
    """
    import numpy as np

    labels = np.array([label for marks, _ in solutions for label in marks], dtype=bool)
    scores = np.array([score for _, values in solutions for score in values], dtype=float)
    owner = np.repeat(np.arange(len(solutions)), [len(marks) for marks, _ in solutions])
    if labels.all() or not labels.any():
        return None
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(solutions), [1 / len(solutions)] * len(solutions), size=_AUC_RESAMPLES)
    resampled = [_weighted_auc(labels, scores, weights[owner]) for weights in draws]
    defined = [value for value in resampled if value is not None]
    estimate = _weighted_auc(labels, scores, np.ones(len(labels)))
    assert estimate is not None
    low, high = np.quantile(defined, [0.025, 0.975]) if defined else (estimate, estimate)
    return Interval(estimate, float(low), float(high), len(solutions), "bootstrap")


def _weighted_auc(labels: Any, scores: Any, weights: Any) -> float | None:
    """AUC where step i counts `weights[i]` times; None if one class has no weight."""
    import numpy as np

    _, place = np.unique(scores, return_inverse=True)
    right = np.bincount(place, weights * labels)
    wrong = np.bincount(place, weights * ~labels, len(right))
    total = right.sum() * wrong.sum()
    if not total:
        return None
    below = np.cumsum(wrong) - wrong
    return float((right * (below + wrong / 2)).sum() / total)


def _item(solution: Judged) -> dict[str, Any]:
    record, truth = solution.record, solution.truth
    answer = "none" if truth == len(record.labels) else f"step {truth + 1}"
    row = record_row(record, [solution.found], ["\n".join(record.steps)], answer=answer)
    return {**row, "chances": [round(value, 4) for value in solution.chances]}


METRIC = Metric(
    name="prm-steps",
    summary="how often a process reward model finds the first wrong step",
    measure=_measure,
    record=StepwiseSolution,
    needs_model="scorer",
    check_model=ProcessModel,
    train_rm_methods=("process",),
)
