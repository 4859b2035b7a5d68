"""`abstention`: how often a model is right, wrong, or says that it does not know, and what that is worth.

Accuracy alone pays for guessing. Here a right answer is worth 1, abstaining 0 and a wrong answer -penalty
(`rewards.abstention`); the shares and the accuracy among answers say where the score comes from.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.config import Section
from rlllm.core.records import task_of
from rlllm.evals.items import sampled_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.reward_values import check_any_judged, first_reward
from rlllm.evals.statistics.intervals import Interval, mean_interval
from rlllm.evals.statistics.pass_estimators import success_rate
from rlllm.rewards.abstention import OUTCOMES, Outcome, Payoff, abstention, outcome_of


class _AbstentionSettings(Section):
    """Arguments of the metric `abstention`."""

    penalty: float | None = None
    """What a wrong answer costs; 1 by default."""
    threshold: float | None = None
    """The confidence above which answering pays, in place of the penalty: t means a penalty of t / (1 - t)."""
    abstain: float = 0.0
    """What abstaining is worth."""


def _measure(request: EvalRequest) -> Evaluation:
    """`score` at the stated penalty, the shares `right`, `wrong` and `abstained`, and `right when answering`.

    A completion is right where the first reward gives at least 1. A problem is left out, and counted, where that cannot judge
    each of its completions. `right when answering` is missing where nothing was answered.

    Raises:
        ConfigError: a penalty, threshold or worth of abstaining that contradict each other.
        RewardError: no problem could be judged.
    """
    settings = _AbstentionSettings.checked(dict(request.params))
    payoff = Payoff.of(settings.penalty, settings.threshold, settings.abstain, "the metric abstention")
    rewards = request.required_rewards()
    completions = request.draw([task_of(record) for record in request.records])
    judged = [
        (samples, values)
        for samples, values in zip(completions, first_reward(rewards, completions), strict=True)
        if values
    ]
    check_any_judged(rewards, len(request.records), len(judged))
    outcomes = [[outcome_of(*pair) for pair in zip(samples, values, strict=True)] for samples, values in judged]
    scores = [
        [payoff.score(*pair) for pair in zip(row, values, strict=True)]
        for row, (_, values) in zip(outcomes, judged, strict=True)
    ]
    items = [
        sampled_row(samples, row, outcomes=[*told], abstained_by=[abstention(sample) for sample in samples])
        for (samples, _), row, told in zip(judged, scores, outcomes, strict=True)
    ]
    extra = {
        "penalty": payoff.penalty,
        "worth_of_abstaining": payoff.abstain,
        "answering_pays_above": payoff.threshold,
        "unjudged": len(completions) - len(judged),
    }
    return Evaluation(items, _values(outcomes, scores, payoff, request.seed), extra)


def _values(
    outcomes: Sequence[Sequence[Outcome]], scores: Sequence[Sequence[float]], payoff: Payoff, seed: int
) -> dict[str, Interval]:
    shares = {name: [[float(told == name) for told in row] for row in outcomes] for name in OUTCOMES}
    values = {"score": mean_interval(scores, seed, bounds=(-payoff.penalty, 1.0))}
    values |= {name: mean_interval(rows, seed) for name, rows in shares.items()}
    answered = [sum(told != "abstained" for told in row) for row in outcomes]
    rate = success_rate([sum(row) for row in shares["right"]], answered, seed=seed)
    return values | ({"right when answering": rate} if rate else {})


METRIC = Metric(
    name="abstention",
    summary="right, wrong and abstained answers, and their score at a stated penalty",
    measure=_measure,
    needs_reward=True,
    needs_model="policy",
    min_samples=1,
    settings=_AbstentionSettings,
)
