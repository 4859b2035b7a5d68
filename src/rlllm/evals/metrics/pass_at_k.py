"""`pass`: pass@1, avg@n, unbiased pass@k and maj@n of sampled completions, as the first reward decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rlllm.core.records import PromptTask, Sample, task_of
from rlllm.evals.dialogue_turns import changes_by_turn, judged_turns
from rlllm.evals.image_ablation import ABLATIONS, with_images
from rlllm.evals.items import sampled_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.reward_values import check_any_judged, first_reward
from rlllm.evals.statistics.intervals import Interval, item_means, mean_interval, score_bounds
from rlllm.evals.statistics.majority_vote import marked
from rlllm.evals.statistics.paired_tests import paired_difference
from rlllm.evals.statistics.pass_estimators import average_interval, sampled_metrics
from rlllm.evals.statistics.response_statistics import majority_interval, response_statistics
from rlllm.evals.teacher_forcing import token_entropies
from rlllm.rollouts.dialogue.play import DIALOGUE, calls_of
from rlllm.rollouts.environments.base import TRANSCRIPT, tool_calls


def _measure(request: EvalRequest) -> Evaluation:
    """The values named above; a completion passes where the first reward gives at least 1.

    Curves over k, diversity, calibration and the like are in `extra` (see `response_statistics`).
    """
    tasks = [task_of(record) for record in request.records]
    completions = request.draw(tasks)
    rewards = request.required_rewards()
    scores = first_reward(rewards, completions)
    judged = {place: values for place, values in enumerate(scores) if values}
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
    values |= _ablated(request, tasks, judged)
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


def _ablated(
    request: EvalRequest, tasks: Sequence[PromptTask], judged: Mapping[int, Sequence[float]]
) -> dict[str, Interval]:
    """pass@1 with other images or none, of the tasks that have some, and how far the given images are above it, by task.

    Args:
        judged: place of a task -> its scores; only of tasks that could be judged.
    """
    places = [place for place in with_images(tasks) if place in judged]
    values: dict[str, Interval] = {}
    for name in request.image_ablation if places else ():
        scores = first_reward(
            request.required_rewards(), request.draw([ABLATIONS[name](tasks)[place] for place in places])
        )
        pairs = [(judged[place], other) for place, other in zip(places, scores, strict=True) if other]
        if not pairs:  # no answer could be judged
            continue
        given, without = ([[float(score >= 1) for score in row] for row in side] for side in zip(*pairs, strict=True))
        values[f"pass@1, images {name}"] = average_interval(without, seed=request.seed)
        bounds = score_bounds(given, without)
        difference = paired_difference(item_means(without), item_means(given), request.seed, bounds=bounds)
        values[f"over images {name}"] = difference.interval
    return values


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
    reads=("ks", "entropy", "stop_width", "image_ablation"),
)
