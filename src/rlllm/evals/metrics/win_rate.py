"""`win-rate`: which of two models' completions a judge prefers, asked in both orders.

The n-th completion of the model meets the n-th of the baseline. A judge that prefers whatever is shown first says A twice:
such a comparison counts as half a win, and `same in both orders` says how rare that was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import Sample, task_of
from rlllm.evals.items import sampled_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.statistics.intervals import mean_interval
from rlllm.evals.statistics.length_control import controlled_outcomes
from rlllm.rewards.judges.judge import Comparison, Judge, JudgeResult

_Compared = tuple[Sample, Sample, JudgeResult]
"""Our completion, the baseline's, and what the judge said of them."""


def _measure(request: EvalRequest) -> Evaluation:
    """Win rate against the baseline, the same at equal length, and how often the order did not matter.

    A comparison without a verdict in either order is left out; so is a problem without any other, and both are counted.

    Raises:
        ConfigError: no baseline, or no judge among the rewards.
        RewardError: the judge decided no comparison.
    """
    judge, tasks = _judge(request), [task_of(record) for record in request.records]
    ours, theirs = request.draw(tasks), request.draw(tasks, "baseline")
    pairs = [
        pair for our_row, their_row in zip(ours, theirs, strict=True) for pair in zip(our_row, their_row, strict=True)
    ]
    results = judge.compare([Comparison(our.prompt, our.completion, their.completion) for our, their in pairs])
    compared = [(our, their, result) for (our, their), result in zip(pairs, results, strict=True)]
    rows = [compared[start : start + request.samples] for start in range(0, len(compared), request.samples)]
    decided = [[comparison for comparison in row if comparison[2].decided] for row in rows]
    judged = [row for row in decided if row]
    if not judged:
        note = next((result.note for result in results if result.note), None)
        raise RewardError(
            "the judge decided no comparison", given=note, hint="look at what it writes: rlllm chat JUDGE"
        )
    wins = [[_win(comparison) for comparison in row] for row in judged]
    values = {
        "win rate": mean_interval(wins, request.seed),
        "win rate, length-controlled": controlled_outcomes(wins, [[_longer(pair) for pair in row] for row in judged]),
        "same in both orders": mean_interval(
            [[float(result.consistent) for *_, result in row] for row in judged], request.seed
        ),
    }
    undecided = sum(not result.decided for result in results)
    return Evaluation(
        [_item(row) for row in judged], values, {"unjudged": len(rows) - len(judged), "undecided": undecided}
    )


def _judge(request: EvalRequest) -> Judge:
    if request.baseline is None:
        raise ConfigError("win-rate compares two models", hint="say against which with --baseline MODEL")
    first = request.rewards.rewards[0] if request.rewards else None
    if first and isinstance(first.target, Judge):
        return first.target
    raise ConfigError(
        "win-rate needs a judge that compares two texts",
        given=f"the reward {first.name}" if first else "no reward",
        hint="rewards=[{name: judge, path: MODEL}]; a reward that scores one text has the metric reward-win-rate",
    )


def _win(comparison: _Compared) -> float:
    """1, 0.5 or 0."""
    share = comparison[2].share
    assert share is not None
    return share


def _longer(comparison: _Compared) -> float:
    """By how many characters ours is longer."""
    return float(len(comparison[0].completion) - len(comparison[1].completion))


def _item(row: Sequence[_Compared]) -> dict[str, Any]:
    return sampled_row(
        [our for our, _, _ in row],
        [_win(comparison) for comparison in row],
        against=[their.completion for _, their, _ in row],
        verdicts=[[result.forward, result.backward] for *_, result in row],
    )


METRIC = Metric(
    name="win-rate",
    summary="win rate against a baseline, by a judge in both orders",
    measure=_measure,
    needs_reward=True,
    needs_model="policy",
    min_samples=1,
    needs_baseline=True,
)
