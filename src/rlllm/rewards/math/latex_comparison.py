r"""The fast path of the `math` reward: answers simple enough to be compared exactly, without a parser or a process.

It answers only where it gives math-verify's own verdict (tests compare the two over generated pairs), else None, and the
slow path decides. It reads numbers of the form c * sqrt(n) * pi^k (k is 0 or 1, c an integer, a fraction or a decimal),
percentages, and pairs, tuples, sets and intervals of integers and fractions.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

_LONGEST = 80
"""Characters; anything longer is left to the slow path."""

_MARGIN = Fraction(1, 100_000)
"""math-verify rounds to six decimals where a decimal is involved; nearer than this, it decides."""


@dataclass(frozen=True, slots=True)
class Number:
    """`coefficient * sqrt(root) * pi**pi`; `root` is free of squares, so that equal numbers have equal fields."""

    coefficient: Fraction
    root: int = 1
    pi: bool = False
    decimal: bool = False
    """Written with a decimal point: math-verify reads a float and compares rounded values."""
    percent: bool = False

    @property
    def exact(self) -> tuple[Fraction, int, bool]:
        """The value; of a percentage, the share."""
        return self.coefficient / 100 if self.percent else self.coefficient, self.root, self.pi

    @property
    def approximate(self) -> float:
        coefficient, root, pi = self.exact
        return float(coefficient) * math.sqrt(root) * (math.pi if pi else 1.0)

    @property
    def rational(self) -> bool:
        return self.root == 1 and not self.pi


@dataclass(frozen=True, slots=True)
class Listing:
    """At least two numbers with what encloses them: `()`, `[]`, `(]`, `[)`, or `{}` for a set and for a bare list."""

    enclosure: str
    items: tuple[Number, ...]


def exactly_equal(reference: str, answer: str) -> bool | None:
    """math-verify's verdict on two answers, each as it stands in a box; None where only math-verify can tell."""
    reference_value, answer_value = read_exact(reference), read_exact(answer)
    if reference_value is None or answer_value is None:
        return None
    if isinstance(reference_value, Number) and isinstance(answer_value, Number):
        return _equal_numbers(reference_value, answer_value)
    if isinstance(reference_value, Listing) and isinstance(answer_value, Listing):
        return _equal_listings(reference_value, answer_value)
    return False


def _equal_numbers(reference: Number, answer: Number) -> bool | None:
    if reference.decimal or answer.decimal:
        return _equal_decimals(reference, answer)
    if reference.percent != answer.percent and _is_integer(reference) and _is_integer(answer):
        # To math-verify 50% is 50, and 50% is 1/2, but -50% is not -50; of 100% and 1 it may think either way.
        if reference.exact == answer.exact or min(reference.coefficient, answer.coefficient) < 0:
            return None
        return reference.coefficient == answer.coefficient
    return reference.exact == answer.exact


def _equal_decimals(reference: Number, answer: Number) -> bool | None:
    if (
        reference.percent == answer.percent
        and reference.rational
        and answer.rational
        and reference.exact == answer.exact
    ):
        return True
    return False if abs(reference.approximate - answer.approximate) > _MARGIN else None


def _is_integer(number: Number) -> bool:
    return number.rational and number.coefficient.denominator == 1


def _equal_listings(reference: Listing, answer: Listing) -> bool | None:
    if {reference.enclosure, answer.enclosure} == {"()", "{}"}:
        return None  # an open interval, a point or a list: which one depends on the other side
    if reference.enclosure != answer.enclosure:
        return False
    if reference.enclosure == "{}":
        return set(reference.items) == set(answer.items)
    return reference.items == answer.items


@lru_cache(maxsize=8192)
def read_exact(text: str) -> Number | Listing | None:
    """What a short answer says exactly; None if it is anything but one of the forms above."""
    if len(text) > _LONGEST or not text.isascii():
        return None
    plain = _plain(text)
    return _number(plain) or _listing(plain)


_SIZED = re.compile(r"\\(?:left|right)(?=[()\[\]])")
_FRACTION = re.compile(r"\\[dt]frac(?=[{\d])")
_DOLLARS = re.compile(r"\$([^$]*)\$|\\?\$([^$]*)")
_UNIT = re.compile(
    r"(?P<number>.*\d)\s*(?:\^\\circ|\^\{\\circ\}|(?:\\ )?\\text\{(?P<words> ?[a-z]+(?: [a-z]+)?)\}(?:\^[23])?)"
)
_NO_UNIT = re.compile(r"percent|pct|inf|sqrt|and|or")


def _plain(text: str) -> str:
    """Without what math-verify drops as well: outer blanks and dollar signs, sizes of brackets, one unit at the end."""
    text = _FRACTION.sub(r"\\frac", _SIZED.sub("", text)).strip()
    if match := _DOLLARS.fullmatch(text):
        text = (match[1] or match[2] or "").strip()
    match = _UNIT.fullmatch(text)
    if match and not _NO_UNIT.search(match["words"] or "") and (match["words"] or not {",", "."} & set(text)):
        text = match["number"]
    return text.replace("{,}", ",")


_TERM = r"(?=\d|\\)(\d{{0,6}})(?: ?\\sqrt\{{(\d{{1,6}})\}})?(?: ?(\\pi))?"
_SURD = re.compile(r"(-?)" + _TERM.format())
_QUOTIENT = re.compile(r"(-?)\\frac ?\{(-?)" + _TERM.format() + r"\}\{(\d{1,6})\}(?: ?(\\pi))?")
_SHORT = re.compile(r"(-?)\\frac(\d)(\d)")
_SLASH = re.compile(r"(-?\d{1,9})/(\d{1,9})")
_PLAIN = re.compile(r"([-+]?)(\d{1,15}|[1-9]\d{0,2}(?:,\d{3}){1,4})")
_DECIMAL = re.compile(r"(-?)(\d{0,8}|[1-9]\d{0,2}(?:,\d{3}){1,2})\.(\d{1,6})")
_PERCENT = re.compile(r"(.*\d) ?\\?%")


def _number(text: str) -> Number | None:
    if match := _PERCENT.fullmatch(text):
        share = _written(match[1])
        return share and Number(share.coefficient, decimal="." in text, percent=True)
    return _written(text) or _quotient(text) or _surd(text)


def _written(text: str) -> Number | None:
    """An integer or a decimal, with or without separators of thousands."""
    if match := _PLAIN.fullmatch(text):
        sign, digits = match.groups()
        if sign != "+" or "," not in digits:
            return Number(_signed(sign, Fraction(digits.replace(",", ""))))
    if match := _DECIMAL.fullmatch(text):
        sign, integer_part, decimals = match.groups()
        value = Fraction(f"{integer_part.replace(',', '') or 0}.{decimals}")
        # math-verify turns this one decimal, as a whole answer, into a fraction
        return Number(_signed(sign, value), decimal=text not in ("0.5", ".5"))
    return None


def _quotient(text: str) -> Number | None:
    if match := _SLASH.fullmatch(text):
        top, bottom = int(match[1]), int(match[2])
        return Number(Fraction(top, bottom)) if bottom else None
    if match := _SHORT.fullmatch(text):
        sign, above, below = match.groups()
        return Number(_signed(sign, Fraction(int(above), int(below)))) if int(below) else None
    if match := _QUOTIENT.fullmatch(text):
        sign, inner, factor, root, pi, below, behind = match.groups()
        if not int(below) or (sign and inner) or (pi and behind):
            return None
        return _product(sign or inner, Fraction(int(factor or 1), int(below)), root, bool(pi or behind))
    return None


def _surd(text: str) -> Number | None:
    match = _SURD.fullmatch(text)
    if match is None:
        return None
    sign, factor, root, pi = match.groups()
    return _product(sign, Fraction(factor or 1), root, bool(pi))


def _product(sign: str, coefficient: Fraction, root: str | None, pi: bool) -> Number | None:
    square, free = _square_part(int(root or 1))
    if (pi and not coefficient) or (root and (free < 2 or not coefficient)):
        return None  # a product with 0 and the root of a square stay unevaluated; what is equal to them then depends
    return Number(_signed(sign, coefficient * square), free, pi)


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def _square_part(number: int) -> tuple[int, int]:
    """`(s, f)` with `number == s * s * f` and f free of squares."""
    square, divisor = 1, 2
    while divisor * divisor <= number:
        while number % (divisor * divisor) == 0:
            number //= divisor * divisor
            square *= divisor
        divisor += 1
    return square, number


_THOUSANDS = re.compile(r"\d,\d{3}(?!\d)")
_ENCLOSED = re.compile(r"(\(|\[|\\\{|)([^()\[\]]*?)(\)|\]|\\\}|)")
_ENCLOSURES = {
    ("", ""): "{}",
    ("\\{", "\\}"): "{}",
    ("(", ")"): "()",
    ("[", "]"): "[]",
    ("(", "]"): "(]",
    ("[", ")"): "[)",
}


def _listing(text: str) -> Listing | None:
    match = _ENCLOSED.fullmatch(text)
    enclosure = match and _ENCLOSURES.get((match[1], match[3]))
    if not match or not enclosure or _THOUSANDS.search(text):
        return None
    items = [_quotient(part) or _integer(part) for part in re.split(r", ?", match[2].strip())]
    rationals = tuple(item for item in items if item is not None and item.rational)
    if not 2 <= len(items) == len(rationals) or not _is_plain(enclosure, rationals):
        return None
    return Listing(enclosure, rationals)


def _integer(text: str) -> Number | None:
    return Number(Fraction(text)) if re.fullmatch(r"-?(?:0|[1-9]\d{0,8})", text) else None


def _is_plain(enclosure: str, items: tuple[Number, ...]) -> bool:
    """Whether math-verify takes it for what it looks like: a set without repeats, an interval that is not empty."""
    if enclosure == "{}":
        return len(set(items)) == len(items)
    if enclosure == "()":
        return True
    return len(items) == 2 and items[0].coefficient < items[1].coefficient
