"""The `win-rate` metric: which of two models' completions a judge prefers, asked in both orders.

The n-th completion of the model meets the n-th of the baseline. A judge that prefers whatever is shown first says A twice:
such a comparison counts as half a win, and `same in both orders` says how rare that was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import Sample, task_of
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.sampling import task_id
from rlllm.evals.statistics.intervals import mean_interval
from rlllm.evals.statistics.length_control import controlled_outcomes
from rlllm.rewards.judges.judge import Comparison, Judge, JudgeResult

Duel = tuple[Sample, Sample, JudgeResult]
"""Our completion, theirs, and what the judge said of them."""


def evaluate_duels(request: EvalRequest) -> Evaluation:
    """Win rate against the baseline, the same at equal length, and how often the order did not matter.

    A comparison without a verdict in either order is left out; so is a problem without any other, and both are counted.

    Raises:
        ConfigError: no baseline, or no judge among the rewards.
        RewardError: the judge decided no comparison.
    """
    judge, tasks = _judge(request), [task_of(record) for record in request.records]
    ours, theirs = request.draw(tasks), request.draw(tasks, "baseline")
    pairs = [pair for mine, other in zip(ours, theirs, strict=True) for pair in zip(mine, other, strict=True)]
    opinions = judge.compare([Comparison(mine.prompt, mine.completion, other.completion) for mine, other in pairs])
    duels = [(mine, other, opinion) for (mine, other), opinion in zip(pairs, opinions, strict=True)]
    rows = [duels[start : start + request.samples] for start in range(0, len(duels), request.samples)]
    decided = [[duel for duel in row if duel[2].decided] for row in rows]
    judged = [row for row in decided if row]
    if not judged:
        note = next((opinion.note for opinion in opinions if opinion.note), None)
        raise RewardError(
            "the judge decided no comparison", given=note, hint="look at what it writes: rlllm chat JUDGE"
        )
    values = {
        "win rate": mean_interval([[_won(duel) for duel in row] for row in judged], request.seed),
        "win rate, length-controlled": controlled_outcomes(
            [[_won(duel) for duel in row] for row in judged], [[_longer(duel) for duel in row] for row in judged]
        ),
        "same in both orders": mean_interval(
            [[float(duel[2].consistent) for duel in row] for row in judged], request.seed
        ),
    }
    undecided = sum(not opinion.decided for opinion in opinions)
    return Evaluation(
        [_item(row) for row in judged], values, {"unjudged": len(rows) - len(judged), "undecided": undecided}
    )


def _judge(request: EvalRequest) -> Judge:
    if request.baseline is None:
        raise ConfigError("win-rate compares two models", hint="say against which with --baseline MODEL")
    first = request.rewards.rewards[0] if request.rewards else None
    judge = getattr(first.many, "__self__", None) if first else None
    if isinstance(judge, Judge):
        return judge
    raise ConfigError(
        "win-rate needs a judge that compares two texts",
        given=f"the reward {first.name}" if first else "no reward",
        hint="rewards=[{name: judge, path: MODEL}]; a reward that scores one text has the metric gold",
    )


def _won(duel: Duel) -> float:
    """1, 0.5 or 0."""
    share = duel[2].share
    assert share is not None
    return share


def _longer(duel: Duel) -> float:
    """By how many characters ours is longer."""
    return float(len(duel[0].completion) - len(duel[1].completion))


def _item(row: Sequence[Duel]) -> dict[str, Any]:
    first = row[0][0]
    return {
        "id": task_id(first.prompt, first.answer),
        "scores": [_won(duel) for duel in row],
        "prompt": first.prompt,
        "answer": first.answer,
        "completions": [mine.completion for mine, _, _ in row],
        "against": [other.completion for _, other, _ in row],
        "verdicts": [[opinion.forward, opinion.backward] for _, _, opinion in row],
    }
