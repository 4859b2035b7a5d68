"""Measuring judges: every pair is judged in both orders, and position is told apart from taste.

A verdict that cannot be read is never left out of the accuracy: it is the judge's output, and it is wrong. Only pairs
whose prompt does not fit the judge's context are left out, and they are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, PromptTask
from rlllm.evals.before_after import Measured
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.sampling import sample, task_id
from rlllm.evals.statistics.intervals import mean_interval
from rlllm.parsing.judge_prompts import SIDES, both_orders, read_verdict
from rlllm.policies import chat
from rlllm.rollouts.config import SamplingConfig

SWAPPED = "\n--- the other order ---\n"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge wrote about one pair: first with the chosen text as A, then with it as B."""

    replies: tuple[str, str]

    @property
    def verdicts(self) -> tuple[str | None, str | None]:
        """The letter in each order: A, B, or None where it cannot be read."""
        return read_verdict(self.replies[0]), read_verdict(self.replies[1])

    @property
    def right(self) -> list[float]:
        """1 or 0 in each order: A is right in the first, B in the second; unreadable is wrong."""
        return [float(verdict == side) for verdict, side in zip(self.verdicts, SIDES, strict=True)]


def fits(tokenizer: Any, tasks: Sequence[PromptTask], room: int) -> list[bool]:
    """Whether each prompt, rendered for the model, has at most `room` tokens."""
    return [len(ids) <= room for ids in chat.encode_prompts(tokenizer, [task.prompt for task in tasks])]


def judge_pairs(
    model: Any, tokenizer: Any, pairs: Sequence[PreferencePair], sampling: SamplingConfig, *, rubric: str, seed: int
) -> list[Judgement | None]:
    """A model's greedy judgement of every pair; None where a prompt and a reply do not fit its context.

    Raises:
        DataError: no pair fits.
    """
    from rlllm.rewards.judges.local import context_length

    questions = [both_orders(pair, rubric) for pair in pairs]
    flat = [task for tasks in questions for task in tasks]
    room = context_length(model) - sampling.max_new_tokens
    fit = fits(tokenizer, flat, room)
    kept = [index for index in range(len(pairs)) if fit[2 * index] and fit[2 * index + 1]]
    if not kept:
        raise DataError(
            f"none of {len(pairs)} pairs fits the judge's context: a question may have {max(room, 0)} tokens",
            given=f"max_new_tokens={sampling.max_new_tokens}",
            hint="lower max_new_tokens, shorten the rubric, or take a model with a longer context",
        )
    asked = [task for index in kept for task in questions[index]]
    greedy = sampling.model_copy(update={"temperature": 0.0})
    texts = [row[0].completion for row in sample(model, tokenizer, asked, greedy, samples=1, seed=seed)]
    judged: list[Judgement | None] = [None] * len(pairs)
    for place, index in enumerate(kept):
        judged[index] = Judgement((texts[2 * place], texts[2 * place + 1]))
    return judged


def judge_measures(judged: Sequence[Judgement | None], pairs: Sequence[PreferencePair]) -> list[Measured]:
    """Five measures, one item a pair; a pair that was not judged has no score.

    - swap-consistent accuracy: 1 if both orders name the chosen text. Guessing letters gives 1/4, always A gives 0.
    - verdict accuracy: mean of the two orders. Guessing, or always A, gives 1/2.
    - consistency: 1 if both orders name the same text, right or wrong. Guessing letters gives 1/2, always A gives 0.
    - share of A: how often the verdict is A; an unreadable one counts one half. Every right judge has 1/2.
    - readable verdicts: share of the two replies with a verdict.
    """
    measures = [
        Measured(name, [[] if one is None else score(one) for one in judged]) for name, score in _SCORES.items()
    ]
    texts = [[] if one is None else [SWAPPED.join(one.replies)] for one in judged]
    shown = replace(
        measures[0], prompts=[pair.prompt for pair in pairs], answers=[pair.chosen for pair in pairs], completions=texts
    )
    return [shown, *measures[1:]]


def _consistent(one: Judgement) -> float:
    first, second = one.verdicts
    return float(first is not None and second is not None and first != second)


_SCORES = {
    "swap-consistent accuracy": lambda one: [min(one.right)],
    "verdict accuracy": lambda one: one.right,
    "consistency": lambda one: [_consistent(one)],
    "share of A": lambda one: [{"A": 1.0, "B": 0.0}.get(verdict, 0.5) for verdict in one.verdicts],
    "readable verdicts": lambda one: [float(verdict is not None) for verdict in one.verdicts],
}


def evaluate_judge(request: EvalRequest) -> Evaluation:
    """The `judge` metric: how a generative judge decides pairs, by the measures of `judge_measures`."""
    pairs = [record for record in request.records if isinstance(record, PreferencePair)]
    judged = judge_pairs(*request.policy(), pairs, request.sampling, rubric="", seed=request.seed)
    measures = judge_measures(judged, pairs)
    items = [
        {
            "id": task_id(pair.prompt, f"{pair.chosen}\0{pair.rejected}"),
            "scores": measures[0].scores[index],
            "prompt": pair.prompt,
            "answer": None,
            "completions": measures[0].completions[index],
        }
        for index, pair in enumerate(pairs)
        if judged[index] is not None
    ]
    values = {one.name: mean_interval([scores for scores in one.scores if scores], request.seed) for one in measures}
    return Evaluation(items, values, {"left out": len(pairs) - len(items)})


def cohens_kappa(first: Sequence[object], second: Sequence[object]) -> float | None:
    """Agreement of two raters beyond chance: (p_o - p_e) / (1 - p_e), p_e from each rater's own shares of the labels.

    1 is full agreement, 0 what independent raters with these shares reach. None where it is not defined: no items, or
    both raters gave one and the same label throughout.

    Source: Cohen, Educ. Psychol. Meas. 20 (1960), 37.
    """
    n = len(first)
    if not n:
        return None
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    expected = sum(list(first).count(label) * list(second).count(label) for label in set(first)) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)
