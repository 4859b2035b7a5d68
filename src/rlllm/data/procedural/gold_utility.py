"""The gold utility: the true utility that the simulated annotator of procedural data has for a completion.

It is a pure function of the sample, with the weights correct 1, well formed 0.5, concise 0.25. Form and brevity together
weigh less than a right answer, and brevity less than form. Reward models are measured against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlllm.core.records import Sample
from rlllm.parsing.answers import extract_answer, has_answer_at_end
from rlllm.parsing.expressions import countdown_fault

CORRECT_WEIGHT = 1.0
_WELL_FORMED_WEIGHT = 0.5
CONCISE_WEIGHT = 0.25
_CONCISE_CHARACTERS = 40
"""Up to this length a completion is fully concise; at twice the length and beyond, not at all."""


@dataclass(frozen=True, slots=True)
class Appraisal:
    """The three qualities of a completion. `concise` runs from 1 (short) to 0 (long)."""

    correct: bool
    well_formed: bool
    concise: float

    @property
    def utility(self) -> float:
        """Weighted sum, between 0 and 1.75."""
        return CORRECT_WEIGHT * self.correct + _WELL_FORMED_WEIGHT * self.well_formed + CONCISE_WEIGHT * self.concise


def appraise(sample: Sample) -> Appraisal | None:
    """Judge a completion; None when the task has neither an answer nor countdown numbers to judge it by."""
    answer = extract_answer(sample.completion)
    if "target" in sample.meta and "numbers" in sample.meta:
        correct = answer is not None and _solves_countdown(answer, sample.meta)
    elif sample.answer is not None:
        correct = answer == sample.answer.strip()
    else:
        return None
    excess = len(sample.completion) - _CONCISE_CHARACTERS
    return Appraisal(
        correct=correct,
        well_formed=has_answer_at_end(sample.completion),
        concise=min(1.0, max(0.0, 1.0 - excess / _CONCISE_CHARACTERS)),
    )


def gold_utility(sample: Sample) -> float | None:
    """The annotator's true utility of a sample, 0 to 1.75; None when it cannot be judged."""
    appraisal = appraise(sample)
    return None if appraisal is None else appraisal.utility


def _solves_countdown(answer: str, meta: Mapping[str, Any]) -> bool:
    return countdown_fault(answer, [int(number) for number in meta["numbers"]], int(meta["target"])) is None
