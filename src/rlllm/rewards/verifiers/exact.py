"""The `exact` reward: the marked final answer equals a reference as text. Also how reference answers are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rlllm.core.records import Sample, Score, accepted_answers
from rlllm.parsing.answer_text import plain_answer, same_text
from rlllm.parsing.answers import extract_answer

NO_ANSWER = "no marked final answer"
NO_REFERENCE = "the sample has no reference answer"
_CASELESS = ("true", "false")
_QUOTED = re.compile(
    r"(?P<mark>[\"'_])(?P<text>(?:(?!(?P=mark)).)+)(?P=mark)|[\u00ab\u300c]\s?(?P<other>[^\u00ab\u300c]+?)\s?[\u00bb\u300d]"
)


def reference_answers(sample: Sample) -> list[str]:
    """Every answer that counts as right, each read behind its own marker where it has one (GSM8K's solutions do).

    Mostly one. A row whose answer is a list accepts each of its entries. Empty without a reference.
    """
    texts = accepted_answers(sample.answer) if sample.answer is not None else []
    return [answer for text in texts if (answer := extract_answer(text) or text.strip())]


def reference_answer(sample: Sample) -> str | None:
    """The first of the reference answers; None without a reference."""
    return next(iter(reference_answers(sample)), None)


def best(scores: Iterable[Score]) -> Score:
    """The verdict on several references: right if one score is, wrong if one judges, and else None."""
    return max(scores, key=lambda score: -1.0 if score.value is None else score.value)


@dataclass(frozen=True)
class Exact:
    """1 if the marked final answer equals the reference as text, else 0; None without a reference.

    Case counts, except for true and false. Blanks are collapsed. Not compared is what surrounds the answer: `$` and other
    display delimiters, bold, `\\text{}`, quotation marks that the reference lacks, a closing full stop, and the encoding of a
    character (full-width, composed).
    """

    verifies = True
    needs_answer = True

    def __call__(self, sample: Sample) -> Score:
        references = reference_answers(sample)
        if not references:
            return Score(None, note=NO_REFERENCE)
        answer = extract_answer(sample.completion)
        if answer is None:
            return Score(0.0, note=NO_ANSWER)
        return Score(float(any(_equal(answer, reference) for reference in references)), parsed=answer)


def _equal(answer: str, reference: str) -> bool:
    if reference.lower() in _CASELESS:
        answer, reference = answer.lower(), reference.lower()
    return same_text(answer, reference) or same_text(_unquoted(answer), reference)


def _unquoted(answer: str) -> str:
    """An answer without the quotation marks or underscores around the whole of it, which a reference may lack."""
    match = _QUOTED.fullmatch(plain_answer(answer))
    return plain_answer(match["text"] or match["other"]) if match else answer
