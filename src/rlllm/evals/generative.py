"""Metrics on sampled completions: `pass` for tasks with a verifier, `gold` for the win rate against a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import Sample, task_of
from rlllm.evals.metrics import average_interval, sampled_metrics, score_bounds
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.sampling import sample, task_id
from rlllm.evals.statistics import mean_interval, win_rate
from rlllm.rewards.compose import Composition


def evaluate_pass(request: EvalRequest) -> Evaluation:
    """Sampled pass@1, avg@n and unbiased pass@k; the first reward decides, with a value of at least 1."""
    drawn = _draw(request, *request.policy())
    scores = first_reward(_rewards(request), drawn)
    drawn, scores = [row for row, s in zip(drawn, scores, strict=True) if s], [s for s in scores if s]
    _check_judged(request, len(drawn))
    passed = [[float(value >= 1.0) for value in row] for row in scores]
    values = sampled_metrics(passed, request.ks, seed=request.seed)
    if scores != passed:
        values["score"] = average_interval(scores, seed=request.seed)
    flat = [one for row in drawn for one in row]
    extra = {
        "unjudged": len(request.records) - len(drawn),
        "truncated": sum(one.truncated for one in flat) / len(flat),
        "mean_tokens": sum(one.tokens or 0 for one in flat) / len(flat),
    }
    return Evaluation(_items(drawn, passed), values, extra)


def evaluate_gold(request: EvalRequest) -> Evaluation:
    """Mean utility and win rate against the baseline: every completion of one meets every completion of the other."""
    if request.baseline is None:
        raise ConfigError("the gold task compares two models", hint="say against which with --baseline MODEL")
    rewards = _rewards(request)
    ours = _draw(request, *request.policy())
    theirs = _draw(request, *request.baseline())
    scores = zip(ours, first_reward(rewards, ours), first_reward(rewards, theirs), strict=True)
    judged = [(row, mine, other) for row, mine, other in scores if mine and other]
    _check_judged(request, len(judged))
    mine, other = [mine for _, mine, _ in judged], [other for _, _, other in judged]
    name, bounds = rewards.names[0], score_bounds(mine, other)
    values = {
        f"{name} win rate": win_rate(mine, other, request.seed),
        f"{name} utility": mean_interval(mine, request.seed, bounds=bounds),
        f"{name} utility of baseline": mean_interval(other, request.seed, bounds=bounds),
    }
    extra = {"unjudged": len(ours) - len(judged)}
    return Evaluation(_items([row for row, _, _ in judged], mine), values, extra)


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


def _draw(request: EvalRequest, model: Any, tokenizer: Any) -> list[list[Sample]]:
    tasks = [task_of(record) for record in request.records]
    return sample(model, tokenizer, tasks, request.sampling, samples=request.samples, seed=request.seed)


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
        }
        for row, values in zip(drawn, scores, strict=True)
    ]
