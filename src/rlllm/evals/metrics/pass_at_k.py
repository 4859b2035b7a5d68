"""`pass`: pass@1, avg@n, unbiased pass@k and maj@n of sampled completions, as the first reward decides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rlllm.core.records import Sample, task_of
from rlllm.evals.dialogue_turns import changes_by_turn, judged_turns
from rlllm.evals.items import sampled_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.reward_values import check_any_judged, first_reward
from rlllm.evals.statistics.intervals import mean_interval
from rlllm.evals.statistics.majority_vote import marked
from rlllm.evals.statistics.pass_estimators import average_interval, sampled_metrics
from rlllm.evals.statistics.response_statistics import majority_interval, response_statistics
from rlllm.evals.teacher_forcing import token_entropies
from rlllm.rollouts.dialogue.play import DIALOGUE, calls_of
from rlllm.rollouts.environments.base import TRANSCRIPT, tool_calls


def _measure(request: EvalRequest) -> Evaluation:
    """The values named above; a completion passes where the first reward gives at least 1.

    Curves over k, diversity, calibration and the like are in `extra` (see `response_statistics`).
    """
    completions = request.draw([task_of(record) for record in request.records])
    rewards = request.required_rewards()
    scores = first_reward(rewards, completions)
    completions = [row for row, values in zip(completions, scores, strict=True) if values]
    scores = [values for values in scores if values]
    check_any_judged(rewards, len(request.records), len(scores))
    passed = [[float(value >= 1.0) for value in row] for row in scores]
    values = sampled_metrics(passed, request.ks, seed=request.seed)
    answers = [marked([sample.completion for sample in row]) for row in completions]
    if request.samples > 1 and (vote := majority_interval(answers, passed, seed=request.seed)):
        values[f"maj@{request.samples}"] = vote
    if scores != passed:
        values["score"] = average_interval(scores, seed=request.seed)
    if all(TRANSCRIPT in sample.meta for row in completions for sample in row):
        calls = [[float(tool_calls(sample)) for sample in row] for row in completions]
        values["tool calls per rollout"] = mean_interval(calls, request.seed, bounds=None)
    dialogues = None
    if all(DIALOGUE in sample.meta for row in completions for sample in row):
        dialogues = judged_turns(completions, partial(first_reward, rewards))
        said = [[float(calls_of(sample)) for sample in row] for row in completions]
        values["calls per answer"] = mean_interval(said, request.seed, bounds=None)
        spent = [[float(sample.tokens or 0) for sample in row] for row in completions]
        values["tokens per answer"] = mean_interval(spent, request.seed, bounds=None)
    if request.entropy:
        values["entropy"] = mean_interval(token_entropies(*request.policy(), completions), request.seed, bounds=None)
    flat = [sample for row in completions for sample in row]
    extra = {
        "unjudged": len(request.records) - len(completions),
        "truncated": sum(sample.truncated for sample in flat) / len(flat),
        "mean_tokens": sum(sample.tokens or 0 for sample in flat) / len(flat),
        **response_statistics(completions, passed, seed=request.seed),
        **({"turns": changes_by_turn(dialogues)} if dialogues else {}),
    }
    rows = [_item(*judged) for judged in zip(completions, passed, answers, strict=True)]
    if dialogues:
        rows = [{**row, "dialogues": turns} for row, turns in zip(rows, dialogues, strict=True)]
    return Evaluation(rows, values, extra)


def _item(samples: Sequence[Sample], passed: Sequence[float], answers: Sequence[str | None]) -> dict[str, Any]:
    return sampled_row(
        samples,
        passed,
        tokens=[sample.tokens for sample in samples],
        truncated=[sample.truncated for sample in samples],
        extracted=list(answers),
    )


METRIC = Metric(
    name="pass",
    summary="sampled pass@1, avg@k and unbiased pass@k on prompts",
    measure=_measure,
    needs_reward=True,
    needs_model="policy",
    min_samples=1,
    reads=("ks", "entropy", "stop_width"),
)
