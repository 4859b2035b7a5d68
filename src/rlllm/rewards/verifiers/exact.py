"""The `exact` reward: the marked final answer equals the reference as text. Also how a reference answer is read."""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.core.records import Sample, Score
from rlllm.parsing.answers import extract_answer

NO_ANSWER = "no marked final answer"
NO_REFERENCE = "the sample has no reference answer"


def reference_answer(sample: Sample) -> str | None:
    """The reference, read behind its own marker where it has one (GSM8K's solutions do); None if there is none."""
    if sample.answer is None:
        return None
    return extract_answer(sample.answer) or sample.answer.strip() or None


@dataclass(frozen=True)
class Exact:
    """1 if the marked final answer equals the reference as text, else 0; None without a reference.

    Outer blanks are dropped and inner ones collapsed; case counts.
    """

    verifies = True

    def __call__(self, sample: Sample) -> Score:
        reference = reference_answer(sample)
        if reference is None:
            return Score(None, note=NO_REFERENCE)
        answer = extract_answer(sample.completion)
        if answer is None:
            return Score(0.0, note=NO_ANSWER)
        return Score(float(answer.split() == reference.split()), parsed=answer)
