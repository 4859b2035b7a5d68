"""`reward-win-rate`: win rate against a baseline model, each completion scored by itself with a reward."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, task_of
from rlllm.evals.items import sampled_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.reward_values import check_any_judged, first_reward
from rlllm.evals.statistics.intervals import mean_interval, score_bounds, win_rate
from rlllm.evals.statistics.length_control import controlled_win_rate


def _measure(request: EvalRequest) -> Evaluation:
    """Mean utility and win rates: every completion of the model meets every completion of the baseline.

    A reward that scores one text has no order of two texts to prefer. Lengths are in characters, which do not depend on a
    tokenizer.
    """
    if request.baseline is None:
        raise ConfigError("reward-win-rate compares two models", hint="say against which with --baseline MODEL")
    rewards, tasks = request.required_rewards(), [task_of(record) for record in request.records]
    both = request.draw(tasks), request.draw(tasks, "baseline")
    scored = zip(*both, *(first_reward(rewards, completions) for completions in both), strict=True)
    judged = [problem for problem in scored if problem[2] and problem[3]]
    check_any_judged(rewards, len(request.records), len(judged))
    ours, theirs = [row for row, *_ in judged], [row for _, row, *_ in judged]
    our_scores, their_scores = [row for *_, row, _ in judged], [row for *_, row in judged]
    name, bounds = rewards.names[0], score_bounds(our_scores, their_scores)
    values = {
        f"{name} win rate": win_rate(our_scores, their_scores, request.seed),
        f"{name} win rate, length-controlled": controlled_win_rate(
            our_scores, their_scores, _characters(ours), _characters(theirs)
        ),
        f"{name} utility": mean_interval(our_scores, request.seed, bounds=bounds),
        f"{name} utility of baseline": mean_interval(their_scores, request.seed, bounds=bounds),
    }
    rows = [sampled_row(samples, scores) for samples, scores in zip(ours, our_scores, strict=True)]
    return Evaluation(rows, values, {"unjudged": len(request.records) - len(judged)})


def _characters(completions: Sequence[Sequence[Sample]]) -> list[list[float]]:
    return [[float(len(sample.completion)) for sample in row] for row in completions]


METRIC = Metric(
    name="reward-win-rate",
    summary="win rate against a baseline, by a reward that scores each completion",
    measure=_measure,
    needs_reward=True,
    default_rewards=("gold",),
    needs_model="policy",
    min_samples=1,
    needs_baseline=True,
)
