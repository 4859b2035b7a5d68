"""Metrics on sampled completions: `pass` for tasks with a verifier, `gold` for the win rate against a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import PromptTask, Sample, task_of
from rlllm.evals.metrics.majority_vote import marked
from rlllm.evals.metrics.response_statistics import majority_interval, profile
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.sampling import task_id
from rlllm.evals.statistics.intervals import mean_interval, win_rate
from rlllm.evals.statistics.length_control import controlled_win_rate
from rlllm.evals.statistics.pass_estimators import average_interval, sampled_metrics, score_bounds
from rlllm.evals.teacher_forcing import token_entropies
from rlllm.rewards.compose import Composition


def evaluate_pass(request: EvalRequest) -> Evaluation:
    """Sampled pass@1, avg@n, unbiased pass@k and maj@n; the first reward decides, with a value of at least 1.

    What is known beside these, such as curves and diversity, is in `extra` (see `behaviour.profile`).
    """
    drawn = request.draw(_tasks(request))
    scores = first_reward(_rewards(request), drawn)
    drawn, scores = [row for row, s in zip(drawn, scores, strict=True) if s], [s for s in scores if s]
    _check_judged(request, len(drawn))
    passed = [[float(value >= 1.0) for value in row] for row in scores]
    values = sampled_metrics(passed, request.ks, seed=request.seed)
    answers = [marked([one.completion for one in row]) for row in drawn]
    if request.samples > 1 and (vote := majority_interval(answers, passed, seed=request.seed)):
        values[f"maj@{request.samples}"] = vote
    if scores != passed:
        values["score"] = average_interval(scores, seed=request.seed)
    if request.entropy:
        values["entropy"] = mean_interval(token_entropies(*request.policy(), drawn), request.seed, bounds=None)
    flat = [one for row in drawn for one in row]
    extra = {
        "unjudged": len(request.records) - len(drawn),
        "truncated": sum(one.truncated for one in flat) / len(flat),
        "mean_tokens": sum(one.tokens or 0 for one in flat) / len(flat),
        **profile(drawn, passed, seed=request.seed),
    }
    return Evaluation(_items(drawn, passed), values, extra)


def evaluate_gold(request: EvalRequest) -> Evaluation:
    """Mean utility and win rates against the baseline: every completion of one meets every completion of the other.

    Each completion is scored by itself, so that there is no order of two for a judge to prefer. Lengths are in characters,
    which do not depend on a tokenizer.
    """
    if request.baseline is None:
        raise ConfigError("the gold task compares two models", hint="say against which with --baseline MODEL")
    rewards = _rewards(request)
    ours, theirs = request.draw(_tasks(request)), request.draw(_tasks(request), "baseline")
    scores = zip(ours, theirs, first_reward(rewards, ours), first_reward(rewards, theirs), strict=True)
    judged = [found for found in scores if found[2] and found[3]]
    _check_judged(request, len(judged))
    ours, theirs = [row for row, *_ in judged], [row for _, row, *_ in judged]
    mine, other = [row for *_, row, _ in judged], [row for *_, row in judged]
    name, bounds = rewards.names[0], score_bounds(mine, other)
    values = {
        f"{name} win rate": win_rate(mine, other, request.seed),
        f"{name} win rate, length-controlled": controlled_win_rate(mine, other, _characters(ours), _characters(theirs)),
        f"{name} utility": mean_interval(mine, request.seed, bounds=bounds),
        f"{name} utility of baseline": mean_interval(other, request.seed, bounds=bounds),
    }
    return Evaluation(_items(ours, mine), values, {"unjudged": len(request.records) - len(judged)})


def first_reward(rewards: Composition, drawn: Sequence[Sequence[Sample]]) -> list[list[float]]:
    """The first reward's value for each sample; an empty row where it cannot judge them all, since it is no 0."""
    return every_reward(rewards, drawn)[0]


def every_reward(rewards: Composition, drawn: Sequence[Sequence[Sample]]) -> list[list[list[float]]]:
    """For each reward what `first_reward` gives for the first."""
    scores = rewards.score([one for row in drawn for one in row])
    tables = []
    for column in scores.values:
        values = iter(column)
        rows = [[next(values) for _ in row] for row in drawn]
        tables.append([[] if None in row else [value for value in row if value is not None] for row in rows])
    return tables


def _tasks(request: EvalRequest) -> list[PromptTask]:
    return [task_of(record) for record in request.records]


def _characters(drawn: Sequence[Sequence[Sample]]) -> list[list[float]]:
    return [[float(len(one.completion)) for one in row] for row in drawn]


def _rewards(request: EvalRequest) -> Composition:
    if request.rewards is None:
        raise ConfigError("this task needs a reward", hint="say which with --reward NAME")
    return request.rewards


def _check_judged(request: EvalRequest, judged: int) -> None:
    if not judged:
        raise RewardError(
            f"the reward {_rewards(request).names[0]} could not judge all completions of any problem",
            given=f"{len(request.records)} problems",
            hint="it returned None; evaluate with a reward that fits this data",
        )


def _items(drawn: list[list[Sample]], scores: list[list[float]]) -> list[dict[str, Any]]:
    return [
        {
            "id": task_id(row[0].prompt, row[0].answer),
            "scores": values,
            "prompt": row[0].prompt,
            "answer": row[0].answer,
            "completions": [one.completion for one in row],
            "tokens": [one.tokens for one in row],
            "truncated": [one.truncated for one in row],
            "extracted": marked([one.completion for one in row]),
        }
        for row, values in zip(drawn, scores, strict=True)
    ]
