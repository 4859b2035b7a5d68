"""Measures taken before and after training: a list of scores for each held-out item, and their paired difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.records import Conversation, PreferencePair, PromptTask, Sample
from rlllm.evals.image_ablation import swapped, with_images
from rlllm.evals.metrics.rm_accuracy import pair_scores
from rlllm.evals.reward_values import every_reward, first_reward
from rlllm.evals.sampling import sample
from rlllm.evals.statistics.intervals import item_means, mean_interval, preference, score_bounds, win_rate
from rlllm.evals.statistics.paired_tests import paired_difference
from rlllm.evals.teacher_forcing import batch, encode
from rlllm.policies.turn_masks import Tokens
from rlllm.rewards.composition import Composition
from rlllm.rewards.models.reward_model import RewardModel
from rlllm.rollouts.config import SamplingConfig


@dataclass(frozen=True)
class Measured:
    """Scores of one model on held-out items."""

    name: str
    """The measure, e.g. "pass@1"."""
    scores: list[list[float]]
    """For each item its scores; the same items in the same order before and after."""
    prompts: list[Any] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)
    completions: list[list[str]] = field(default_factory=list)
    """For each item the sampled texts, where the measure samples."""
    higher_is_better: bool = True
    wins: str | None = None
    """Name of the win rate to report beside the mean, where scores can be ranked."""
    from_start: bool = False
    """A distance from the start, which has no value of its own before training."""


def difference(before: Measured, after: Measured, *, seed: int = 0) -> list[dict[str, Any]]:
    """Rows for `results.json`: before, after and their paired difference with 95 % intervals over items.

    Items that could not be judged on either side are left out on both, and counted. Without any that was, all three are None.
    """
    if after.from_start:
        distance = mean_interval(after.scores, seed).to_json()
        better = after.higher_is_better
        return [{"name": after.name, "higher_is_better": better, "before": None, "after": distance, "difference": None}]
    judged = [(old, new) for old, new in zip(before.scores, after.scores, strict=True) if old and new]
    if not judged:
        nothing = dict.fromkeys(("before", "after", "difference"))
        better = before.higher_is_better
        return [{"name": before.name, "higher_is_better": better, **nothing, "unjudged": len(before.scores)}]
    then, now = [old for old, _ in judged], [new for _, new in judged]
    bounds = score_bounds(then, now) if before.higher_is_better else None  # a loss below 1 is bounded by nothing
    change = paired_difference(item_means(then), item_means(now), seed, bounds=bounds)
    rows = [
        {
            "name": before.name,
            "higher_is_better": before.higher_is_better,
            "before": mean_interval(then, seed, bounds=bounds).to_json(),
            "after": mean_interval(now, seed, bounds=bounds).to_json(),
            "difference": change.to_json(),
            "unjudged": len(before.scores) - len(judged),
        }
    ]
    if before.wins:
        wins = win_rate(now, then, seed).to_json()
        rows.append({"name": before.wins, "higher_is_better": True, "before": None, "after": wins, "difference": None})
    return rows


def unmeasured(before: Measured, after: Measured) -> str:
    """What is to be said where no item was judged both before and after; empty where one was."""
    if after.from_start or any(old and new for old, new in zip(before.scores, after.scores, strict=True)):
        return ""
    return (
        f"none of the {len(before.scores)} held-out items could be judged for {before.name}, so that nothing can be said of "
        "what training did to it"
    )


def before_after_rows(before: Measured, after: Measured) -> list[dict[str, Any]]:
    """Rows for `before_after.jsonl`: what the model wrote for each held-out prompt, then and now."""
    rows = []
    for index, prompt in enumerate(before.prompts if before.completions else []):
        if not (before.scores[index] and after.scores[index]):
            continue
        sides = {
            side: [
                {"completion": text, "score": score}
                for text, score in zip(measured.completions[index], measured.scores[index], strict=True)
            ]
            for side, measured in (("before", before), ("after", after))
        }
        rows.append({"prompt": prompt, "answer": before.answers[index], **sides})
    return rows


def measure_pass(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[PromptTask],
    rewards: Composition,
    sampling: SamplingConfig,
    *,
    samples: int,
    seed: int,
) -> list[Measured]:
    """Share of sampled completions that pass: the first reward gives at least 1.

    Where prompts have images, a second measure says the same of these prompts with the images of others; see `image_ablation`.
    """
    places, changed = with_images(tasks), swapped(tasks)
    asked = {"pass@1": tasks, "pass@1, images swapped": [changed[place] for place in places]}
    return [
        passed(name, sample(model, tokenizer, prompts, sampling, samples=samples, seed=seed), rewards)
        for name, prompts in asked.items()
        if prompts
    ]


def passed(name: str, completions: list[list[Sample]], rewards: Composition) -> Measured:
    """Share of these completions that pass: the first reward gives at least 1."""
    values = first_reward(rewards, completions)
    return _sampled(name, completions, [[float(value >= 1.0) for value in row] for row in values])


def measure_utility(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[PromptTask],
    judges: Sequence[Composition],
    sampling: SamplingConfig,
    *,
    samples: int,
    seed: int,
) -> tuple[list[Measured], list[list[Sample]]]:
    """Mean of every reward over the same sampled completions, and these completions.

    The first reward of the first composition is the judge and also counts wins; with `gold` its mean is the annotator's true
    utility. A reward that was already named is not measured twice.
    """
    completions = sample(model, tokenizer, tasks, sampling, samples=samples, seed=seed)
    measures: dict[str, Measured] = {}
    for judge in judges:
        for name, scores in zip(judge.names, every_reward(judge, completions), strict=True):
            wins = None if measures else f"{name} win rate"
            measures.setdefault(name, _sampled(f"{name} utility", completions, scores, wins))
    return list(measures.values()), completions


def measure_kl(model: Any, start: Any, tokenizer: Any, completions: Sequence[Sequence[Sample]]) -> Measured:
    """KL divergence of `model` from `start` in nats per completion, on the model's own completions.

    Sum over tokens of the exact divergence of the two next-token distributions: unbiased for the KL of whole completions,
    with less variance than log-ratios of the drawn tokens.
    """
    import torch

    scores = []
    with torch.inference_mode():
        for row in completions:
            records = [Conversation(sample.prompt, sample.completion, sample.meta) for sample in row]
            scores.append([0.0] * len(row) if model is start else _kl(model, start, tokenizer, records))
    return Measured("KL from the start", scores, higher_is_better=False, from_start=True)


def _kl(model: Any, start: Any, tokenizer: Any, records: Sequence[Conversation]) -> list[float]:
    import torch

    rows = [encode(tokenizer, record) for record in records]
    inputs = batch(tokenizer, [row.ids for row in rows], [row.prompt for row in rows], model.device)
    was_training = model.training
    model.eval()
    ours, theirs = (
        torch.log_softmax(policy(**inputs, use_cache=False).logits[:, :-1].float(), -1) for policy in (model, start)
    )
    model.train(was_training)
    per_token = (ours.exp() * (ours - theirs)).sum(-1)
    return [float(per_token[index, _places(row)].sum()) for index, row in enumerate(rows)]


def _places(row: Tokens) -> list[int]:
    """The places whose next token trains."""
    return [place - 1 for place, trains in enumerate(row.trains) if trains and place]


def measure_pairs(scorer: RewardModel, pairs: Sequence[PreferencePair]) -> Measured:
    """1 for every pair whose chosen completion scores higher, one half for a tie."""
    return Measured("pair accuracy", [[preference(*scores)] for scores in pair_scores(scorer, pairs)])


def measure_loss(model: Any, tokenizer: Any, records: Sequence[Conversation], batch_size: int = 32) -> Measured:
    """Mean negative log-likelihood (nats) of the tokens of each held-out row that would train; lower is better."""
    import torch

    rows = [encode(tokenizer, record) for record in records]
    losses: list[list[float]] = []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            losses += _losses(model, tokenizer, rows[start : start + batch_size])
    model.train(was_training)
    return Measured("held-out loss", losses, higher_is_better=False)


def _sampled(
    name: str, completions: list[list[Sample]], scores: list[list[float]], wins: str | None = None
) -> Measured:
    return Measured(
        name,
        scores,
        prompts=[row[0].prompt for row in completions],
        answers=[row[0].answer for row in completions],
        completions=[[sample.completion for sample in row] for row in completions],
        wins=wins,
    )


def _losses(model: Any, tokenizer: Any, rows: list[Tokens]) -> list[list[float]]:
    import torch

    inputs = batch(tokenizer, [row.ids for row in rows], [row.prompt for row in rows], model.device)
    logits = model(**inputs, use_cache=False).logits[:, :-1].float()
    logps = torch.log_softmax(logits, -1).gather(2, inputs["input_ids"][:, 1:].unsqueeze(2)).squeeze(2)
    places = [_places(row) for row in rows]
    return [[-float(logps[index, own].mean())] if own else [0.0] for index, own in enumerate(places)]
