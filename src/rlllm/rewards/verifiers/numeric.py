"""The `numeric` reward: the marked final answer is the reference number, within a tolerance. Also how numbers are read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.parsing.answers import extract_answer
from rlllm.rewards.verifiers.exact import NO_ANSWER, NO_REFERENCE, reference_answer


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written, and whether a percent sign stood behind it."""

    value: float
    percent: bool = False

    @property
    def share(self) -> float:
        return self.value / 100 if self.percent else self.value


@dataclass(frozen=True)
class Numeric:
    """1 if the marked final answer is the reference number, else 0; None when the reference is no number.

    Reads `1,234`, `$5`, `50%`, `3/4`, `\\frac{3}{4}`, `1e3`, `x = 5` and a unit behind the number. Of two percentages
    the numbers are compared; one alone counts as written (50) or as the share (0.5).

    Args:
        relative: largest difference, as a share of the larger of the two.
        absolute: largest difference, in units of the answer. Either tolerance suffices.
    """

    relative: float = 1e-12
    absolute: float = 0.0
    verifies = True

    def __post_init__(self) -> None:
        if not (self.relative >= 0 and self.absolute >= 0):
            raise ConfigError("numeric: a tolerance cannot be negative", given=f"{self.relative}, {self.absolute}")

    def __call__(self, sample: Sample) -> Score:
        reference = reference_answer(sample)
        if reference is None:
            return Score(None, note=NO_REFERENCE)
        expected = read_number(reference)
        if expected is None:
            return Score(None, note=f"the reference is no number: {reference[:80]}")
        answer = extract_answer(sample.completion)
        if answer is None:
            return Score(0.0, note=NO_ANSWER)
        number = read_number(answer)
        if number is None:
            return Score(0.0, parsed=answer, note="the answer is no number")
        return Score(float(self._equal(number, expected)), parsed=answer)

    def _equal(self, number: Number, expected: Number) -> bool:
        pairs = [(number.value, expected.value)]
        if number.percent != expected.percent:
            pairs.append((number.share, expected.share))
        return any(math.isclose(a, b, rel_tol=self.relative, abs_tol=self.absolute) for a, b in pairs)


_DIGITS = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<top>{_DIGITS})(?:\s*/\s*(?P<bottom>{_DIGITS}))?\s*(?P<percent>%|percent\b)?"
    r"(?:(?:\s+|(?=[^\W\d_]{2})|(?=°))(?:[(°]|[^\W\d_])[^\d+*^=-]*)?"  # a unit: words, nothing to calculate with
    r"[\s.]*",
    re.IGNORECASE,
)
_LONGEST = 200
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}")
_TEXT = re.compile(r"\\(?:text|mathrm|textbf)\s*\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|\\[,!])(?=\d{3})")
_ORNAMENT = re.compile(r"\\[,;:!() ]|\\?[$€£]")


def read_number(text: str) -> Number | None:
    """The one number that `text` states, the right side of an equation if it is one; None if there is none, or more."""
    text = _TEXT.sub(r" \1", _FRACTION.sub(r"\1/\2", text.replace("\u2212", "-")))
    text = _ORNAMENT.sub(" ", _THOUSANDS.sub("", text.replace("\\%", "%")))
    match = _NUMBER.fullmatch(text.rpartition("=")[2].strip(" *")) if len(text) <= _LONGEST else None
    if match is None:
        return None
    value = _to_float(match["top"])
    if match["bottom"]:
        bottom = _to_float(match["bottom"])
        value = value / bottom if bottom else math.nan
    if not math.isfinite(value):
        return None
    return Number(-value if match["sign"] == "-" else value, percent=match["percent"] is not None)


def _to_float(digits: str) -> float:
    return float(digits.replace(",", ""))
