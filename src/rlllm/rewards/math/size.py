"""Numbers that are too large to be written out: `9^9^9^9`, `5!!!`, `100000000!`. A computer algebra system would begin to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

_MOST_DIGITS = 20_000.0
_INNERMOST = re.compile(r"[({\[]([^(){}\[\]]*)[)}\]]")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|<(?P<place>\d+)>|\\[a-zA-Z]+|[^\W\d_]|[!^]")


def too_large(text: str) -> bool:
    """Whether a power or a factorial of numbers in a text, as `canonical` spells it, has more than 20,000 digits."""
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


def _checked(digits: float) -> float:
    if digits > _MOST_DIGITS:
        raise _TooLargeError
    return digits
