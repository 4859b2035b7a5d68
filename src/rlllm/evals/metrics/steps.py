"""`steps`: the share of worked steps that survive verification, and how often a right answer stands on a false one.

An answer can be right while the working is not, and long chains of thought are where that happens. Steps are equations of
arithmetic (`parsing.steps`); what cannot be checked counts neither way.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.records import Sample, prompt_text, task_of
from rlllm.evals.items import sampled_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.reward_values import check_any_judged, first_reward
from rlllm.evals.statistics.intervals import Interval, mean_interval
from rlllm.evals.statistics.pass_estimators import success_rate
from rlllm.parsing.steps import Step, worked_steps

_Worked = Sequence[Sequence[Sequence[Step]]]
"""For each problem, of each completion the steps that count."""


def _measure(request: EvalRequest) -> Evaluation:
    """The values of `_values`; the score of an item is 1 for each right answer without a false step.

    A completion is right where the first reward gives at least 1. A problem is left out, and counted, where that cannot judge
    each of its completions.

    Raises:
        RewardError: no problem could be judged.
    """
    rewards = request.required_rewards()
    completions = request.draw([task_of(record) for record in request.records])
    judged = [
        (samples, [float(value >= 1.0) for value in values])
        for samples, values in zip(completions, first_reward(rewards, completions), strict=True)
        if values
    ]
    check_any_judged(rewards, len(request.records), len(judged))
    worked = [[_steps(sample) for sample in samples] for samples, _ in judged]
    right = [row for _, row in judged]
    items = [
        sampled_row(
            samples,
            [float(passed and all(step.holds for step in steps)) for passed, steps in zip(row, found, strict=True)],
            right=row,
            steps=[len(steps) for steps in found],
            false_steps=[[step.text for step in steps if not step.holds] for steps in found],
        )
        for (samples, row), found in zip(judged, worked, strict=True)
    ]
    extra = {"unjudged": len(completions) - len(judged), "without_steps": sum(not s for row in worked for s in row)}
    return Evaluation(items, _values(worked, right, request.seed), extra)


def _steps(sample: Sample) -> list[Step]:
    return worked_steps(sample.completion, prompt_text(sample.prompt))


def _values(worked: _Worked, right: Sequence[Sequence[float]], seed: int) -> dict[str, Interval]:
    """Values with intervals over problems; a share of nothing is missing.

    - `right without a false step`: of all completions.
    - `steps that hold`: of all steps that count.
    - `right with a false step`: of the right completions that have a step to check.
    - `steps per completion`.
    """
    clean = [
        [float(passed and all(step.holds for step in steps)) for steps, passed in zip(*pair, strict=True)]
        for pair in zip(worked, right, strict=True)
    ]
    held = [[sum(step.holds for step in steps) for steps in row] for row in worked]
    counted = [[len(steps) for steps in row] for row in worked]
    checked = [
        [float(passed and bool(steps)) for steps, passed in zip(*pair, strict=True)]
        for pair in zip(worked, right, strict=True)
    ]
    lucky = [
        [float(passed and sum(step.holds for step in steps) < len(steps)) for steps, passed in zip(*pair, strict=True)]
        for pair in zip(worked, right, strict=True)
    ]
    shares = {
        "steps that hold": success_rate([*map(sum, held)], [*map(sum, counted)], seed=seed),
        "right with a false step": success_rate([*map(sum, lucky)], [*map(sum, checked)], seed=seed),
    }
    return {
        "right without a false step": mean_interval(clean, seed),
        **{name: share for name, share in shares.items() if share},
        "steps per completion": mean_interval(counted, seed, bounds=None),
    }


METRIC = Metric(
    name="steps",
    summary="worked steps that hold, and right answers with a false one",
    measure=_measure,
    needs_reward=True,
    needs_model="policy",
    min_samples=1,
)
