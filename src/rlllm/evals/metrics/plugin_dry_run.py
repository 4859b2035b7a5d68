"""One call of a plugin's metric on a few rows while an evaluation is planned, so that a mistake shows before a model loads.

Completions, scores and the baseline's completions are made up; nothing of a model or of a reward is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rlllm.core.errors import DataError, PluginError, RewardError, RlllmError
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.core.records import PromptTask, Sample, Score
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.sampling import CompletionSampler
from rlllm.evals.statistics.intervals import Interval
from rlllm.rewards.composition import Composition, Scores
from rlllm.rewards.judges.judge import Judge
from rlllm.rollouts.config import SamplingConfig

_ROWS = 16
_TEXTS = ("The answer is 1.", "The answer is \\boxed{2}.", "I cannot say.")


class _NotLoadedError(RlllmError):
    """The metric asks for a model, which is not loaded for a rehearsal."""


def measure(metric: Metric, request: EvalRequest) -> Evaluation:
    """What a metric measures, checked to be of the right form.

    Raises:
        PluginError: a plugin's metric raised an exception, or returned something else than an evaluation.
    """
    if metric.needs_model != "policy":
        request = replace(request, policy=lambda: _undeclared(metric), samplers={})
    with plugin_boundary("metric", metric.name, metric.measure):
        evaluation = metric(request)
    _check(metric, evaluation)
    return evaluation


def rehearse(metric: Metric, request: EvalRequest) -> None:
    """Call a plugin's metric once on the first rows of a task; metrics of rlllm are not called.

    What only a few rows or made-up completions can be blamed for (DataError, RewardError) is no failure.

    Raises:
        RlllmError: the metric raised an exception, or returned something else than an evaluation.
    """
    own = metric.measure.__module__.partition(".")[0] == "rlllm"
    judged = request.rewards is not None and any(isinstance(reward.target, Judge) for reward in request.rewards.rewards)
    if own or judged or metric.external is not None or metric.needs_model == "scorer" or not request.records:
        return
    sampler = _MadeUpSampler(_not_loaded)
    small = replace(
        request,
        policy=_not_loaded,
        baseline=_not_loaded if metric.needs_baseline else None,
        records=request.records[:_ROWS],
        rewards=request.rewards and _MadeUpScores(request.rewards.rewards),
        samplers={"model": sampler, **({"baseline": sampler} if metric.needs_baseline else {})},
    )
    try:
        measure(metric, small)
    except (_NotLoadedError, DataError, RewardError):
        return


def _not_loaded() -> tuple[Any, Any]:
    raise _NotLoadedError("no model is loaded while an evaluation is planned")


def _undeclared(metric: Metric) -> tuple[Any, Any]:
    raise PluginError(
        f"the metric {metric.name} asks for a model, and declares that it needs none",
        given=f"needs_model={metric.needs_model!r}",
        hint="needs_model='policy', with min_samples=1 where completions are drawn",
    )


def _check(metric: Metric, evaluation: object) -> None:
    if not isinstance(evaluation, Evaluation):
        raise PluginError(
            f"the metric {metric.name} returned no Evaluation",
            given=type(evaluation).__name__,
            hint="return Evaluation(items, values): one row for each item, and an Interval for each value",
        )
    for name, value in evaluation.values.items():
        if not isinstance(value, Interval):
            raise PluginError(
                f"the value {name} of the metric {metric.name} is no Interval",
                given=type(value).__name__,
                hint="rlllm.plugins.mean_interval makes one of the scores of all items",
            )
    for row in evaluation.items:
        if missing := {"id", "scores"} - row.keys():
            raise PluginError(
                f"an item of the metric {metric.name} has no {min(missing)}",
                given=", ".join(map(str, row)),
                hint="rlllm.plugins.record_row and sampled_row make the row of an item",
            )


class _MadeUpSampler(CompletionSampler):
    """Completions that no model wrote."""

    def each_block(
        self, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int, seed: int
    ) -> Iterator[list[list[Sample]]]:
        texts = [_TEXTS[number % len(_TEXTS)] for number in range(samples)]
        yield [
            [Sample(task.prompt, text, task.answer, task.meta, tokens=len(text)) for text in texts] for task in tasks
        ]


class _MadeUpScores(Composition):
    """Rewards that are not asked: 1 and 0 in turn."""

    def score(self, samples: Sequence[Sample]) -> Scores:
        values: list[float | None] = [float(number % 2 == 0) for number in range(len(samples))]
        details: list[Score | None] = [Score(value) for value in values]
        count = len(self.rewards)
        return Scores(self.names, [values] * count, [details] * count, [], values)
