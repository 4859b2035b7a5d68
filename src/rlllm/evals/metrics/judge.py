"""`judge`: accuracy of a model that writes verdicts on pairs; every pair is judged in both orders.

A verdict that cannot be read is never left out of the accuracy: it is the judge's output, and it is wrong. Only pairs
whose prompt does not fit the judge's context are left out, and they are counted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, PromptTask, full_text
from rlllm.evals.before_after import Measured
from rlllm.evals.items import record_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.sampling import sample
from rlllm.evals.statistics.intervals import mean_interval
from rlllm.parsing.judge_prompts import SIDES, both_orders, read_verdict
from rlllm.policies import chat
from rlllm.policies.loading import context_length
from rlllm.rewards.judges.local_judge import LocalJudge
from rlllm.rollouts.config import SamplingConfig

_SWAPPED = "\n--- the other order ---\n"


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
    questions = [both_orders(pair, rubric) for pair in pairs]
    flat = [task for tasks in questions for task in tasks]
    room = (context_length(model) or sys.maxsize) - sampling.max_new_tokens
    fit = fits(tokenizer, flat, room)
    fitting = [index for index in range(len(pairs)) if fit[2 * index] and fit[2 * index + 1]]
    if not fitting:
        raise DataError(
            f"none of {len(pairs)} pairs fits the judge's context: a question may have {max(room, 0)} tokens",
            given=f"max_new_tokens={sampling.max_new_tokens}",
            hint="lower max_new_tokens, shorten the rubric, or take a model with a longer context",
        )
    prompts = [task for index in fitting for task in questions[index]]
    greedy = sampling.model_copy(update={"temperature": 0.0})
    texts = [row[0].completion for row in sample(model, tokenizer, prompts, greedy, samples=1, seed=seed)]
    judged: list[Judgement | None] = [None] * len(pairs)
    for place, index in enumerate(fitting):
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
        Measured(name, [[] if judgement is None else score(judgement) for judgement in judged])
        for name, score in _SCORES.items()
    ]
    texts = [[] if judgement is None else [_SWAPPED.join(judgement.replies)] for judgement in judged]
    shown = replace(
        measures[0],
        prompts=[pair.prompt for pair in pairs],
        answers=[full_text(pair.chosen) for pair in pairs],
        completions=texts,
    )
    return [shown, *measures[1:]]


def _consistent(judgement: Judgement) -> float:
    first, second = judgement.verdicts
    return float(first is not None and second is not None and first != second)


_SCORES = {
    "swap-consistent accuracy": lambda judgement: [min(judgement.right)],
    "verdict accuracy": lambda judgement: judgement.right,
    "consistency": lambda judgement: [_consistent(judgement)],
    "share of A": lambda judgement: [{"A": 1.0, "B": 0.0}.get(verdict, 0.5) for verdict in judgement.verdicts],
    "readable verdicts": lambda judgement: [float(verdict is not None) for verdict in judgement.verdicts],
}


def _measure(request: EvalRequest) -> Evaluation:
    """The measures of `judge_measures`."""
    pairs = [record for record in request.records if isinstance(record, PreferencePair)]
    judged = judge_pairs(*request.policy(), pairs, request.sampling, rubric="", seed=request.seed)
    measures = judge_measures(judged, pairs)
    items = [
        record_row(pair, measures[0].scores[index], measures[0].completions[index])
        for index, pair in enumerate(pairs)
        if judged[index] is not None
    ]
    values = {
        measure.name: mean_interval([scores for scores in measure.scores if scores], request.seed)
        for measure in measures
    }
    return Evaluation(items, values, {"left out": len(pairs) - len(items)})


METRIC = Metric(
    name="judge",
    summary="swap-consistent accuracy of a judge that writes",
    measure=_measure,
    record=PreferencePair,
    needs_model="policy",
    check_model=LocalJudge,
    train_rm_methods=("generative",),
)
