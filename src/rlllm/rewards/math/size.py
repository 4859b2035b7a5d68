r"""What is too large to be written out: `9^9^9^9`, `5!!!`, `\binom{10^9}{10^8}`, a sum of a billion fractions. A computer
algebra system would begin to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

_MOST_DIGITS = 20_000.0
_MOST_TERMS = 2_000
"""Of a sum that has no formula, and of a product. Of powers of the index there is one for any number of terms."""
_INNERMOST = re.compile(r"[({\[]([^(){}\[\]]*)[)}\]]")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|<(?P<place>\d+)>|\\[a-zA-Z]+|[^\W\d_]|[!^]")
_OPERATOR = re.compile(r"[\s({]*\\(sum|prod)(?![a-zA-Z])")
_LIMIT = re.compile(r"\s*([_^])\s*")
_FIRST = re.compile(r"[a-zA-Z]\s*=\s*(\d{1,15})")
_COUNT = re.compile(r"(?:(\d{1,15})\s*(?:\\cdot|\\times|\*)\s*)?(\d{1,15})(?:\s*\^\s*(?:\{\s*(\d{1,15})\s*\}|(\d)))?")
_WITH_FORMULA = re.compile(
    r"(?:[\s\d+\-*().a-zA-Z]|\\(?:cdot|times)(?![a-zA-Z])|\^\s*(?:\d|\{\s*\d+\s*\})|\\frac\s*\{[^{}!\\]*\}\s*\{[\s\d]+\})*"
)


def too_large(text: str) -> bool:
    """Whether a power, factorial or binomial of numbers has more than 20,000 digits, or a sum or product too many terms.

    Args:
        text: as `canonical` spells it.
    """
    if _too_long(text):
        return True
    sizes: list[float | None] = []
    text = re.sub(r"\\[{}]|[<>]", " ", text)
    try:
        while match := _INNERMOST.search(text):
            sizes.append(_Sizes(match[1], sizes).product())
            text = f"{text[: match.start()]}<{len(sizes) - 1}>{text[match.end() :]}"
        _Sizes(text, sizes).product()
    except _TooLargeError:
        return True
    return False


def _too_long(text: str) -> bool:
    at = 0
    while match := _OPERATOR.search(text, at):
        at, terms, product = match.end(), 1.0, False
        while match and (limits := _limits(text, match.end())):
            count, at = limits
            terms, product = terms * count, product or match[1] == "prod"
            match = _OPERATOR.match(text, at)  # a sum of sums
        if terms > _MOST_TERMS and (product or not _WITH_FORMULA.fullmatch(text, at)):
            return True
    return False


def _limits(text: str, at: int) -> tuple[float, int] | None:
    """How many terms a sum has whose limits begin here, and where they end; None where no numbers say so."""
    groups: dict[str, str] = {}
    while match := _LIMIT.match(text, at):
        groups[match[1]], at = _group(text, match.end())
    upper, lower = _COUNT.fullmatch(groups.get("^", "")), _FIRST.fullmatch(groups.get("_", ""))
    if upper is None:
        return None
    exponent = int(upper[3] or upper[4] or 1)
    last = round(float(upper[1] or 1) * 10.0 ** min(exponent * math.log10(max(float(upper[2]), 1.0)), 200.0))
    return max(last - float(lower[1] if lower else 0) + 1, 0.0), at


def _group(text: str, at: int) -> tuple[str, int]:
    """The text in the braces that begin here, or the one sign that stands here; and where it ends."""
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth <= 0:
            return (text[at + 1 : end] if text[at] == "{" else text[at : end + 1]).strip(), end + 1
    return "", len(text)


class _TooLargeError(Exception):
    pass


class _Sizes:
    """Reads a text without brackets. The size of a number is its decimal logarithm, of what holds a letter None; a sum counts
    as a product, which is no smaller.

    Args:
        text: with `<N>` in the place of the Nth bracket.
        known: the sizes of the brackets.
    """

    def __init__(self, text: str, known: list[float | None]) -> None:
        self._tokens: Iterator[re.Match[str]] = _TOKEN.finditer(text)
        self._known = known
        self._next = next(self._tokens, None)

    def product(self) -> float | None:
        sizes: list[float | None] = []
        while self._next is not None:
            sizes.append(self._power())
        whole = [size for size in sizes if size is not None]
        return sum(whole) if len(whole) == len(sizes) else None

    def _power(self) -> float | None:
        size = self._atom()
        while self._next is not None and self._next[0] == "!":
            self._advance()
            size = None if size is None else _factorial(size)
        if self._next is None or self._next[0] != "^":
            return size
        self._advance()
        exponent = self._power() if self._next is not None else None
        return None if size is None or exponent is None else _checked(size * 10 ** min(exponent, 300.0))

    def _atom(self) -> float | None:
        match = self._next
        self._advance()
        if match is not None and match[0] == "\\binom":
            return _binomial(self._atom(), self._atom())
        if match is None or match[0] in ("!", "^") or match[0][0] == "\\" or match[0].isalpha():
            return None
        if match["place"] is not None:
            return self._known[int(match["place"])]
        digits = match[0].lstrip("0.")
        return abs(math.log10(float(match[0]))) if len(digits) < 300 and float(match[0]) else float(len(digits))

    def _advance(self) -> None:
        self._next = next(self._tokens, None)


def _factorial(size: float) -> float:
    number = 10 ** min(size, 15.0)
    return _checked(math.lgamma(number + 1) / math.log(10))


def _binomial(size: float | None, chosen: float | None) -> float | None:
    if size is None or chosen is None:
        return None
    if size > 15.0:  # (n / k)^k is no larger
        return _checked(10 ** min(chosen, 15.0) * max(size - chosen, 0.0))
    number, part = 10**size, 10 ** min(chosen, 15.0)
    part = min(part, number - part)
    if part <= 0:
        return 0.0
    ways = math.lgamma(number + 1) - math.lgamma(part + 1) - math.lgamma(number - part + 1)
    return _checked(max(ways / math.log(10), 0.0))


def _checked(digits: float) -> float:
    if digits > _MOST_DIGITS:
        raise _TooLargeError
    return digits
