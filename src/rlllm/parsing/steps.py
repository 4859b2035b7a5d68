"""Worked steps: the equations of arithmetic in a text (`12 + 7 = 19`), and whether each holds.

Exact, by fractions. A result that is written as a decimal may be rounded to the digits shown where its left side divides
(`10 / 3 = 3.33`), and any result behind `≈` may. In a chain (`2 * 3 + 1 = 6 + 1 = 7`) each sign of equality is a step.
Equations with letters, powers, percentages or units inside them are left out: they cannot be checked here, so nothing is said
of them.

What proves nothing does not count, since a model that is paid for true equations would write it: `7 = 7`, `3 + 4 = 4 + 3`,
`7 + 0 = 7`, `1 * 7 = 7`, an equation for the second time (`4 + 3 = 7` after `3 + 4 = 7`), and a true equation none of whose
numbers comes from the question or from an earlier step. A false one counts wherever its numbers come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from rlllm.parsing.answer_text import plain_characters
from rlllm.parsing.expressions import ExpressionError, evaluate

_LONGEST_SIDE = 120
_MOST_SIGNS = 1000
"""Signs of equality that are read, so that a text which is nothing else costs no seconds."""
_NUMBER = r"(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?+"
_TERM = rf"\(*+-?\(*+{_NUMBER}\)*+"
_EXPRESSION = rf"{_TERM}(?:[ \t]*+[-+*/][ \t]*+{_TERM})*+"
_ON_THE_LEFT = re.compile(rf"(?<![\d.,]){_EXPRESSION}[ \t]*+\Z")
_ON_THE_RIGHT = re.compile(rf"[ \t]*(?P<side>{_EXPRESSION})(?P<behind>[ \t]*+(?s:.|\Z))")
_TOKENS = re.compile(rf"{_NUMBER}|[-+*/()]")
_EQUALS = re.compile(r"[=≈]")
_NUMBERS = re.compile(_NUMBER)
_OPERATORS = "+-*/"
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}")
_SPELLINGS = (
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])|[×·∙⋅]|(?<=\d)[ \t]?[xX][ \t]?(?=\d)"), "*"),  # noqa: RUF001
    (re.compile(r"\\div(?![a-zA-Z])|÷"), "/"),
    (re.compile(r"\\(?:approx|simeq)(?![a-zA-Z])|~="), "≈"),
    (re.compile(r"\\left|\\right|\\[,;:! ()\[\]]|\\?\$|`|(?<!\*)\*\*(?!\*)(?!(?<=\d\*\*)\d)"), " "),
    (re.compile(r"[–−]"), "-"),  # noqa: RUF001
)


@dataclass(frozen=True, slots=True)
class Step:
    """One equation of a text that can be checked and that counts."""

    text: str
    """As `12+7=19`."""
    holds: bool


@dataclass(frozen=True, slots=True)
class _Equation:
    left: str
    right: str
    rounded: bool
    """Whether the sign between the sides is `≈`."""


def worked_steps(text: str, question: str = "") -> list[Step]:
    """The steps of a text that count, in order.

    Args:
        text: working, and whatever else.
        question: its numbers, and the digits they are written in, are what a true step may begin with. Without any number in
            it, a step may begin with any.
    """
    known = _numbers_of(question)
    demanded = bool(known)
    seen: set[tuple[str, ...]] = set()
    steps = []
    for equation in _equations(_plain(text)):
        try:
            left, right = _value(equation.left), _value(equation.right)
        except ExpressionError:
            continue
        tokens = [_TOKENS.findall(side) for side in (equation.left, equation.right)]
        key = tuple(sorted((*tokens[0], *tokens[1])))
        if not any(map(_calculates, tokens)) or sorted(tokens[0]) == sorted(tokens[1]) or key in seen:
            continue
        holds = _equal(left, right, equation)
        if holds and demanded and known.isdisjoint(_operands(tokens)):
            continue
        seen.add(key)
        if holds:
            known |= {left, right}
        steps.append(Step(f"{equation.left}{'≈' if equation.rounded else '='}{equation.right}", holds))
    return steps


def share_that_hold(steps: list[Step]) -> float | None:
    """The share of the steps that hold; None of no steps."""
    return sum(step.holds for step in steps) / len(steps) if steps else None


def _plain(text: str) -> str:
    text = _FRACTION.sub(r"(\1/\2)", plain_characters(text))
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    return text


def _equations(text: str) -> Iterator[_Equation]:
    """Pairs of expressions on both sides of a sign; each side is read at most `_LONGEST_SIDE` characters far."""
    for sign in islice(_EQUALS.finditer(text), _MOST_SIGNS):
        start = max(0, sign.start() - _LONGEST_SIDE)
        left = _ON_THE_LEFT.search(text[start : sign.start()])
        right = _ON_THE_RIGHT.match(text[sign.end() : sign.end() + _LONGEST_SIDE])
        if not left or not right or _cut_off(text, start + left.start(), left.group()) or _goes_on(right["behind"]):
            continue
        yield _Equation(_tidy(left.group()), _tidy(right["side"]), rounded=sign.group() == "≈")


def _cut_off(text: str, start: int, side: str) -> bool:
    """Whether what stands before a left side belongs to it: a letter, a power, an operator."""
    before = text[max(0, start - 20) : start]
    last, blank = before.rstrip(" \t")[-1:], before[-1:] in (" ", "\t")
    if last and last in "+-*/^_\\}%.,~<>!":
        return not (last in ".,!>" or (last == "<" and before.endswith("<<"))) or (not blank and last in ".,")
    return last.isalnum() and (not blank or side.lstrip("( ").startswith("-"))


def _goes_on(behind: str) -> bool:
    """Whether what stands behind a right side belongs to it."""
    last = behind[-1:]
    attached = len(behind) == 1 and (last.isalpha() or last in "^_%\\{")
    return attached or (bool(last.strip()) and last in "+-*/^%")


def _tidy(side: str) -> str:
    """Without blanks, separators of thousands, and brackets at the outer ends that belong to the sentence: `12+7` of
    "(12 + 7 = 19)"."""
    side = re.sub(r"[ \t]|,(?=\d)", "", side)
    while side.count("(") > side.count(")") and side.startswith("("):
        side = side[1:]
    while side.count(")") > side.count("(") and side.endswith(")"):
        side = side[:-1]
    return side


def _value(side: str) -> Fraction:
    """The exact value of a side, decimals as fractions of whole numbers. Raises ExpressionError."""
    return evaluate(_NUMBERS.sub(lambda match: _exact(match.group()), side))[0]


def _exact(number: str) -> str:
    whole, _, decimals = number.partition(".")
    return f"({int(whole + decimals)}/{10 ** len(decimals)})" if decimals else str(int(whole))


def _calculates(tokens: list[str]) -> bool:
    """Whether a side has an operation that changes a number: not + 0, - 0, * 1 or / 1. Brackets are looked through."""
    flat = [token for token in tokens if token not in "()"]
    for before, operator, after in zip(flat, flat[1:], flat[2:], strict=False):
        if operator not in _OPERATORS or before in _OPERATORS:
            continue
        neutral = 0 if operator in "+-" else 1
        first, second = Fraction(before), None if after in _OPERATORS else Fraction(after)
        if second != neutral and not (operator in "+*" and first == neutral):
            return True
    return False


def _operands(tokens: list[list[str]]) -> set[Fraction]:
    """The numbers of the sides that are more than a number."""
    return {Fraction(token) for side in tokens if _calculates(side) for token in side if token[0].isdigit()}


def _numbers_of(question: str) -> set[Fraction]:
    numbers = [number.replace(",", "") for number in _NUMBERS.findall(plain_characters(question))]
    digits = {Fraction(digit) for number in numbers for digit in number if digit.isdigit()}
    return {Fraction(number) for number in numbers} | digits


def _equal(left: Fraction, right: Fraction, equation: _Equation) -> bool:
    if left == right:
        return True
    if not re.fullmatch(r"-?\d+(?:\.\d+)?", equation.right):
        return False
    decimals = len(equation.right.partition(".")[2])
    may_round = equation.rounded or (decimals > 0 and "/" in equation.left)
    return may_round and abs(left - right) <= Fraction(1, 2 * 10**decimals)
