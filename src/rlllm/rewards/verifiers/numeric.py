"""The `numeric` reward: the marked final answer is the reference number, exactly or within a tolerance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.numbers import Number, comparable_values, read_number
from rlllm.rewards.verifiers.exact import NO_ANSWER, NO_REFERENCE, best, reference_answers

_BRACKETED = re.compile(r"\A\s*\(([^(),;]+)\)\s*\Z")
"""One value in brackets of its own. `(1,234)` may be a point."""


@dataclass(frozen=True)
class Numeric:
    """1 if the marked final answer is the reference number, else 0; None when the reference is no number.

    Reads `1,234`, `1 234`, `$5`, `50%`, `3/4`, `\\frac{3}{4}`, `2\\frac{1}{2}`, `1e3`, `1.5 \\times 10^3`, `0.\\overline{3}`,
    `5 million`, `seven`, `x = 5` and a unit behind the number, and compares exactly. Units on both sides are converted: 5 m is
    500 cm, and is not 5 feet. Of two percentages the numbers are compared; one alone counts as written (50) or as the share
    (0.5). Alternatives and comparisons ("3 or 4", "3 or more", "at least 3"), ordinals (2nd) and sums (2 + 3) are no number.

    Args:
        relative: largest difference, as a share of the larger of the two.
        absolute: largest difference, in units of the answer. Either tolerance suffices.
    """

    relative: float = 0.0
    absolute: float = 0.0
    verifies = True
    needs_answer = True

    def __post_init__(self) -> None:
        if not (0 <= self.relative < inf and 0 <= self.absolute < inf):
            raise ConfigError(
                "numeric: a tolerance cannot be negative or infinite", given=f"{self.relative}, {self.absolute}"
            )

    def __call__(self, sample: Sample) -> Score:
        references = reference_answers(sample)
        if not references:
            return Score(None, note=NO_REFERENCE)
        answer = extract_answer(sample.completion)
        return best(self._score(answer, reference) for reference in references)

    def _score(self, answer: str | None, reference: str) -> Score:
        expected = read_number(_BRACKETED.sub(r"\1", reference))
        if expected is None:
            return Score(None, note=f"the reference is no number: {reference[:80]}")
        if answer is None:
            return Score(0.0, note=NO_ANSWER)
        number = read_number(_BRACKETED.sub(r"\1", answer))
        if number is None:
            return Score(0.0, parsed=answer, note="the answer is no number")
        return Score(float(self._equal(number, expected)), parsed=answer)

    def _equal(self, number: Number, expected: Number) -> bool:
        return any(self._close(a, b) for a, b in comparable_values(number, expected))

    def _close(self, value: Fraction, expected: Fraction) -> bool:
        if value == expected:
            return True
        if not (self.relative or self.absolute):
            return False
        tolerance = max(_fraction(self.relative) * max(abs(value), abs(expected)), _fraction(self.absolute))
        return abs(value - expected) <= tolerance


def _fraction(tolerance: float) -> Fraction:
    """The decimal that a person wrote: 0.1 is a tenth."""
    return Fraction(str(tolerance))
