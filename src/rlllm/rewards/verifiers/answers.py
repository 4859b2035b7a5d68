"""Rewards that compare text with text: no model, no import beyond the standard library, one small class each.

A reward answers None when the sample lacks what it needs (no reference answer), and 0.0 only when the completion is
wrong. Final answers are read by `parsing.answers` alone, so every verifier agrees on what the answer of a completion is.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import Sample, Score
from rlllm.parsing.answers import extract_answer, has_answer_at_end, marked_answers

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

    def __call__(self, sample: Sample) -> Score:
        reference = reference_answer(sample)
        if reference is None:
            return Score(None, note=NO_REFERENCE)
        answer = extract_answer(sample.completion)
        if answer is None:
            return Score(0.0, note=NO_ANSWER)
        return Score(float(answer.split() == reference.split()), parsed=answer)


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

    def __post_init__(self) -> None:
        if not (self.relative >= 0 and self.absolute >= 0):
            raise ConfigError("numeric: a tolerance cannot be negative", given=f"{self.relative}, {self.absolute}")

    def __call__(self, sample: Sample) -> Score:
        reference = reference_answer(sample)
        if reference is None:
            return Score(None, note=NO_REFERENCE)
        wanted = read_number(reference)
        if wanted is None:
            return Score(None, note=f"the reference is no number: {reference[:80]}")
        answer = extract_answer(sample.completion)
        if answer is None:
            return Score(0.0, note=NO_ANSWER)
        found = read_number(answer)
        if found is None:
            return Score(0.0, parsed=answer, note="the answer is no number")
        return Score(float(self._equal(found, wanted)), parsed=answer)

    def _equal(self, found: Number, wanted: Number) -> bool:
        pairs = [(found.value, wanted.value)]
        if found.percent != wanted.percent:
            pairs.append((found.share, wanted.share))
        return any(math.isclose(a, b, rel_tol=self.relative, abs_tol=self.absolute) for a, b in pairs)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written, and whether a percent sign stood behind it."""

    value: float
    percent: bool = False

    @property
    def share(self) -> float:
        return self.value / 100 if self.percent else self.value


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


@dataclass(frozen=True)
class Regex:
    """1 if the completion matches a regular expression, else 0.

    Args:
        pattern: in Python's syntax; start it with `(?s)` to let a dot cross lines.
        full: match the whole completion instead of any part of it.
    """

    pattern: str
    full: bool = False
    deadline: ClassVar[float] = 5.0
    """Seconds for one completion: a pattern such as `(a+)+$` may backtrack for ever, and cannot be interrupted."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(f"regex: not a regular expression: {error}", given=self.pattern) from error

    def __call__(self, sample: Sample) -> Score:
        find = re.fullmatch if self.full else re.search
        match = find(self.pattern, sample.completion)
        return Score(float(match is not None), parsed=match.group() if match else None)


_STYLES = {"hash": ("####",), "boxed": ("\\boxed", "\\fboxed"), "tag": ("<answer>",), "any": ("",)}


@dataclass(frozen=True)
class Format:
    """1 if the completion has exactly one marked final answer, at its end, else 0. Whether it is right does not matter.

    Args:
        style: marker asked for: `hash` (#### x), `boxed` (\\boxed{x}), `tag` (<answer>x</answer>) or `any`. Of nested
            markers the inner one counts.
    """

    style: str = "any"

    def __post_init__(self) -> None:
        if self.style not in _STYLES:
            raise unknown("style of the reward format", self.style, _STYLES)

    def __call__(self, sample: Sample) -> Score:
        found = marked_answers(sample.completion)
        if not found:
            return Score(0.0, note=NO_ANSWER)
        last = found[-1]
        if len(found) > 1:
            return Score(0.0, parsed=last.answer, note=f"{len(found)} marked answers")
        if not sample.completion.startswith(_STYLES[self.style], last.start):
            return Score(0.0, parsed=last.answer, note=f"the marker is not of style {self.style}")
        if not has_answer_at_end(sample.completion):
            return Score(0.0, parsed=last.answer, note="text after the answer")
        return Score(1.0, parsed=last.answer)


@dataclass(frozen=True)
class EosReward:
    """0 if the completion ended by itself, -1 if it hit the length limit.

    The "EOS trick" of PPO for language models (Huang et al. 2024, arXiv 2403.17031), as a reward with a weight and a
    column of its own. A text that no model was stopped at, such as one from a file, counts as ended.
    """

    def __call__(self, sample: Sample) -> Score:
        return Score(-1.0 if sample.truncated else 0.0)


def length_of(sample: Sample) -> tuple[int, str]:
    """The completion's length and its unit: tokens, or characters where their number is not known."""
    return (len(sample.completion), "characters") if sample.tokens is None else (sample.tokens, "tokens")


@dataclass(frozen=True)
class Length:
    """0 within the budget, then falling linearly to -1 at `budget + buffer` and beyond.

    The soft overlong punishment of DAPO (Yu et al. 2025, arXiv 2503.14476, equation 13). Counts tokens, or characters
    for samples whose number of tokens is not known.

    Args:
        budget: longest completion that costs nothing.
        buffer: width of the slope; a quarter of the budget by default, as in the paper.
    """

    budget: int
    buffer: int | None = None

    def __post_init__(self) -> None:
        if self.budget < 0 or (self.buffer is not None and self.buffer < 0):
            raise ConfigError("length: budget and buffer cannot be negative", given=f"{self.budget}, {self.buffer}")

    def __call__(self, sample: Sample) -> Score:
        length, unit = length_of(sample)
        buffer = self.budget // 4 if self.buffer is None else self.buffer
        excess = max(0, length - self.budget)
        share = min(1.0, excess / buffer) if buffer else float(excess > 0)
        return Score(-share if share else 0.0, parsed=f"{length} {unit}")
