r"""Exact comparison of two mathematical answers by their structure: leaves, lists, tuples, intervals, matrices, equations.

Every verdict is certain, or it is None. A structure is compared part by part: sets and lists in any order, tuples and matrices
in theirs, intervals with their ends, equations by their sides. The leaves are numbers and expressions (`algebra.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rlllm.parsing.answer_text import without_text_macros
from rlllm.parsing.numbers import Number, comparable_values, read_number
from rlllm.parsing.units import NO_UNIT, Unit, read_unit, unit_ratio
from rlllm.rewards.math.algebra import (
    Expression,
    approximate,
    difference,
    equal_expressions,
    proportional,
    read_expression,
)
from rlllm.rewards.math.canonical import split, squeezed
from rlllm.rewards.math.number_sets import read_set, same_set, writes_set

_ROUNDED_DIGITS = 6
"""A decimal with so many significant digits stands for a number that no decimal is."""


def equal_numbers(reference: Number, answer: Number) -> bool:
    pairs = comparable_values(answer, reference)
    if any(value == expected for value, expected in pairs):
        return True
    if reference.literal == answer.literal or not pairs:
        return False
    literal, other = (pairs[0][1], pairs[0][0]) if reference.literal else pairs[0]
    return not _terminates(other) and _rounds_to(literal, float(other))


def _terminates(value: Fraction) -> bool:
    """Whether a decimal says the value exactly."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _rounds_to(literal: Fraction, value: float) -> bool:
    """Whether a decimal of at least six significant digits is the value, rounded or cut off at its last digit."""
    decimals = 0
    while (literal * 10**decimals).denominator != 1:
        decimals += 1
    digits = len(str(abs(int(literal * 10**decimals))))
    error = abs(float(literal) - value)
    last = 10.0**-decimals
    return digits >= _ROUNDED_DIGITS and (
        error <= last / 2 * (1 + 1e-9) or (error < last and abs(float(literal)) < abs(value))
    )


@dataclass(frozen=True, slots=True)
class _Structure:
    """What a canonical text is at its top level."""

    kind: str
    """`leaf`, `list` (bare, unordered), `set`, `tuple`, `interval`, `union`, `matrix`, `equation` or `relation`."""
    items: tuple[str, ...]
    detail: str = ""
    """The ends of an interval or a tuple, the shape of a matrix, the name of a named list."""
    worded: bool = False
    """A list whose items are separated by "or" or "and", which is no tuple."""


_OPENING, _CLOSING = "([{", ")]}"
_SEPARATOR = re.compile(
    r"[,;\n]|\\text\s*\{\s*,?\s*(?:or|and)\s*\}|(?<![a-zA-Z\\])(?:or|and)(?![a-zA-Z])|\\q?quad(?![a-zA-Z])"
)
_RELATION_SIGN = re.compile(r"\\(?:le|ge|ne|lt|gt)(?![a-zA-Z])|[<>]|!=")
_NOT = re.compile(r"\\not(?![a-zA-Z])|\\notin(?![a-zA-Z])|\\n(?:less|gtr|leq|geq)(?![a-zA-Z])")


@lru_cache(maxsize=8192)
def structure(text: str) -> _Structure:
    """The structure of a canonical text."""
    text = text.strip().strip("$").strip()
    if match := re.fullmatch(r"(?P<name>[a-zA-Z])\s*\\in\s*(?P<set>.+)", text):
        text = match["set"]
    if match := _SET_BUILDER.fullmatch(text):
        text = match["condition"]
    if "=" not in text and read_number(text) is not None:
        return _Structure("leaf", (text,))
    if match := _MATRIX.fullmatch(text):
        rows = [row.split("&") for row in re.split(r"\\\\", match["cells"]) if row.strip()]
        cells = tuple(cell.strip() for row in rows for cell in row)
        even = len({len(row) for row in rows}) == 1
        return _Structure("matrix", cells, f"{len(rows)}x{len(rows[0])}") if even else _Structure("leaf", (text,))
    parts = split(text, _SEPARATOR)
    if len(parts) > 1:
        return _listing(parts, worded=len(split(text, _COMMA)) < len(parts))
    if "\\cup" in text and len(pieces := split(text, _CUP)) > 1:
        return _Structure("union", tuple(pieces))
    if _RELATION_SIGN.search(text) or _NOT.search(text):
        return _relation(text)
    if len(sides := split(text, _EQUALS)) > 1:
        return _Structure("equation", tuple(sides))
    return _enclosed(text)


_SET_BUILDER = re.compile(
    r"\\\{\s*(?P<name>[a-zA-Z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?[:|]\s*(?P<condition>(?=.*(?P=name))[^{}|:]+)\\\}"
)
_MATRIX = re.compile(
    r"\\begin\{(?P<name>[pbBv]?matrix|smallmatrix|array)\}(?:\{[^{}]*\})?(?P<cells>(?:(?!\\begin|\\end).)*)\\end\{(?P=name)\}",
    re.DOTALL,
)
_CUP = re.compile(r"\\cup(?![a-zA-Z])")
_EQUALS = re.compile(r"(?<![<>!])=")
_PLUS_MINUS = re.compile(r"\\pm(?![a-zA-Z])")


def _listing(parts: list[str], *, worded: bool) -> _Structure:
    """A list; `n = 1, 2` and `x = 1, x = 2` are lists with a name, `x = 1, y = 2` keeps its equations."""
    named = [_named(part) for part in parts]
    names = [name for name, _ in named if name]
    if names and (len(set(names)) == 1 and (len(names) == len(parts) or (named[0][0] and len(names) == 1))):
        return _Structure("list", _expanded(tuple(value for _, value in named)), names[0], worded)
    return _Structure("list", _expanded(tuple(parts)), worded=worded)


def _expanded(items: Sequence[str]) -> tuple[str, ...]:
    """Items with `a \\pm b` written as two."""
    plain = []
    for item in items:
        if len(_PLUS_MINUS.findall(item)) == 1:
            plain += [_PLUS_MINUS.sub("+", item), _PLUS_MINUS.sub("-", item)]
        else:
            plain.append(item)
    return tuple(part.strip().removeprefix("+").strip() for part in plain)


_NAME = re.compile(
    r"(?:\\text\s*\{[^{}=]*\}|\\?[a-zA-Z](?:_(?:\w|\{[^{}]*\}))?'*(?:\s*\([^()=<>]*\))?|\\[a-zA-Z]+(?:\s*\\?[a-zA-Z]{1,3})?(?:_(?:\w|\{[^{}]*\}))?"
    r"|[A-Z]{1,4}|[a-z]{2,12}|\|[A-Z]{1,3}\||\\overline\s*\{[A-Z]{1,3}\}|[A-Z]\^[A-Z'])"
)


def _named(text: str) -> tuple[str, str]:
    """(name, value) of `x = 5` or `f(x) = x^2`; no name where the left side is more than a name."""
    sides = split(text, _EQUALS) if "=" in text else [text]
    if len(sides) < 2 or _RELATION_SIGN.search(text) or not _NAME.fullmatch(sides[0]):
        return "", text
    values = sides[1:]
    if any(compare(values[-1], value) is not True for value in values[:-1]):
        return "", text
    return squeezed(sides[0]), values[-1]


def _relation(text: str) -> _Structure:
    return _Structure("relation", (text,))


_ENCLOSED = re.compile(r"(\(|\[|\]|\\\{|\{)(.*?)(\)|\]|\[|\\\}|\})", re.DOTALL)


def _enclosed(text: str) -> _Structure:
    match = _ENCLOSED.fullmatch(text)
    if match is None or not _balanced(match[2]):
        values = _expanded([text])
        return _Structure("list" if len(values) == 2 else "leaf", values if len(values) == 2 else (text,))
    left, inside, right = match.groups()
    items = split(inside, _COMMA)
    if left in ("\\{", "{"):
        return _Structure("set", _expanded(items)) if right in ("\\}", "}") and items else _Structure("leaf", (text,))
    if len(items) < 2:
        return _Structure("leaf", (text,))
    ends = {"]": "(", "[": "[", "(": "("}[left] + {"[": ")", "]": "]", ")": ")"}[right] if right in "[])" else ""
    if not ends or any(part.strip() == "" for part in inside.split(",")):
        return _Structure("leaf", (text,))
    if ends == "()" or len(items) > 2:
        return _Structure("tuple", tuple(items), "()")
    return _Structure("interval", tuple(items), ends)


_COMMA = re.compile(r"[,;]")


def _balanced(text: str) -> bool:
    """Whether every bracket inside is closed inside: `(1,2) \\cup (3,4)` is not one pair of brackets."""
    depth = 0
    for character in text.replace("\\{", "{").replace("\\}", "}"):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth < 0:
            return False
    return depth == 0


@lru_cache(maxsize=8192)
def compare(reference: str, answer: str) -> bool | None:
    """Whether two canonical texts are equal; None where only a computer algebra system can tell."""
    if squeezed(reference) == squeezed(answer):
        return True
    if writes_set(reference) or writes_set(answer):
        sets = read_set(reference), read_set(answer)
        same = same_set(sets[0], sets[1]) if sets[0] and sets[1] else None
        if same is not None:
            return same
    first, second = structure(reference), structure(answer)
    if "union" in (first.kind, second.kind):
        return True if first.kind == second.kind and _unordered(first, second) else None
    if "relation" in (first.kind, second.kind) or _are_relations(first) or _are_relations(second):
        return _compare_relations(first, second)
    if "equation" in (first.kind, second.kind):
        return _compare_equations(reference, answer, first, second)
    first, second = _single(first), _single(second)
    by_kind = _COMPARED.get((first.kind, second.kind))
    if by_kind is not None:
        return by_kind(first, second)
    if "leaf" in (first.kind, second.kind):
        leaf = first if first.kind == "leaf" else second
        # A list is no single value; a text that cannot be read may be anything.
        return False if _is_read(leaf.items[0]) else None
    return False


def _single(side: _Structure) -> _Structure:
    """A list that repeats one value, or a set of one value, is this value."""
    if side.kind not in ("list", "set"):
        return side
    items = _distinct(side.items)
    return structure(items[0]) if len(items) == 1 else side


def _is_read(text: str) -> bool:
    return read_number(text) is not None or read_expression(text) is not None


def _leaves(first: _Structure, second: _Structure) -> bool | None:
    reference, answer = first.items[0], second.items[0]
    numbers = read_number(reference), read_number(answer)
    if numbers[0] and numbers[1]:
        return equal_numbers(numbers[0], numbers[1])
    (left, unit), (right, given_unit) = _with_unit(reference), _with_unit(answer)
    ratio = unit_ratio(given_unit, unit)
    if ratio is None:
        return False
    expressions = _expression(left, numbers[0]), _expression(right, numbers[1])
    if expressions[0] is None or expressions[1] is None:
        return True if ratio == 1 and squeezed(left) == squeezed(right) else None
    if ratio != 1:
        scaled = read_expression(f"({right})\\cdot({ratio.numerator}/{ratio.denominator})")
        return equal_expressions(expressions[0], scaled) if scaled else None
    equal = equal_expressions(expressions[0], expressions[1])
    if equal is False and _is_rounded(reference, numbers[0], expressions[1]) | _is_rounded(
        answer, numbers[1], expressions[0]
    ):
        return True
    return equal


def _expression(text: str, number: Number | None) -> Expression | None:
    """A number beside an expression: its share, if it is a percentage."""
    if number is not None and number.unit.empty:
        return read_expression(f"{number.share.numerator}/{number.share.denominator}".replace("/1", "/1"))
    return read_expression(text)


def _is_rounded(text: str, number: Number | None, other: Expression) -> bool:
    """Whether a text is a decimal, and the rounded value of an expression that no decimal is."""
    value = approximate(other) if number and number.literal and other.rational is None else None
    return value is not None and number is not None and _rounds_to(number.value, value)


_TAIL = re.compile(
    r"(?P<head>.*?[^\s\\])\s*(?P<unit>(?:\\frac\s*\{\s*)?\\text\s*\{.*|\^\\circ\s*[CF]?|(?<=\s)[a-zA-Z/]{2,}(?:\s?\^\s?\{?[23]\}?)?)",
    re.DOTALL,
)


def _with_unit(text: str) -> tuple[str, Unit]:
    """(expression, unit) of `5\\sqrt{2} \\text{ cm}`; without a unit, the text itself."""
    match = _TAIL.fullmatch(text)
    if match is None:
        return text, NO_UNIT
    unit = read_unit(without_text_macros(match["unit"]))
    if unit is None or unit.nouns - {"unit"} or not _balanced(match["head"]):
        return text, NO_UNIT
    return match["head"], unit


def _unordered(first: _Structure, second: _Structure) -> bool | None:
    if first.detail and second.detail and first.detail != second.detail:
        return False
    reference, answer = _distinct(first.items), _distinct(second.items)
    if systems := _systems(reference, answer):
        return _compare_systems(*systems)
    if len(reference) != len(answer):
        return None if _any_unread([*reference, *answer]) else False
    return _matched(reference, answer)


def _any_unread(items: Sequence[str]) -> bool:
    return any(structure(item).kind == "leaf" and not _is_read(item) for item in items)


def _matched(reference: Sequence[str], answer: Sequence[str]) -> bool | None:
    """Whether every item has a partner on the other side."""
    undecided = False
    left = list(answer)
    for item in reference:
        verdicts = [compare(item, other) for other in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            undecided = True
        else:
            return False
    return None if undecided else True


def _distinct(items: Sequence[str]) -> list[str]:
    distinct: list[str] = []
    for item in items:
        if not any(compare(item, other) is True for other in distinct):
            distinct.append(item)
    return distinct


def _systems(reference: Sequence[str], answer: Sequence[str]) -> tuple[dict[str, str], dict[str, str]] | None:
    """Both sides as name -> value, if both give values to several names."""
    sides = [[_named(item) for item in items] for items in (reference, answer)]
    if not all(name for side in sides for name, _ in side):
        return None
    first, second = (dict(side) for side in sides)
    return (first, second) if len(first) == len(sides[0]) and len(second) == len(sides[1]) and len(first) > 1 else None


def _compare_systems(reference: dict[str, str], answer: dict[str, str]) -> bool | None:
    if reference.keys() != answer.keys():
        return False
    return _all(compare(reference[name], answer[name]) for name in reference)


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """False if one is, True if all are, else None."""
    parts = set(verdicts)
    if False in parts:
        return False
    return None if None in parts else True


def _ordered(first: _Structure, second: _Structure) -> bool | None:
    if len(first.items) != len(second.items):
        return False
    return _all(compare(a, b) for a, b in zip(first.items, second.items, strict=True))


def _tuple_and_list(first: _Structure, second: _Structure) -> bool | None:
    """A bare list in the order of a tuple; with names, in the order of the alphabet (x = 1, y = 2 is the point (1, 2))."""
    named = [[_named(item) for item in side.items] for side in (first, second)]
    if (
        first.worded
        or second.worded
        or any([name for name, _ in side] != sorted(name for name, _ in side) for side in named)
    ):
        return False
    return _ordered(*(_Structure("tuple", tuple(value for _, value in side)) for side in named))


def _intervals(first: _Structure, second: _Structure) -> bool | None:
    return False if first.detail != second.detail else _ordered(first, second)


def _matrices(first: _Structure, second: _Structure) -> bool | None:
    return False if first.detail != second.detail else _ordered(first, second)


def _vector(first: _Structure, second: _Structure) -> bool | None:
    """A matrix of one row or one column beside a tuple."""
    matrix = first if first.kind == "matrix" else second
    return _ordered(first, second) if "1" in matrix.detail.split("x") else False


_COMPARED: dict[tuple[str, str], Callable[[_Structure, _Structure], bool | None]] = {
    ("leaf", "leaf"): _leaves,
    ("list", "list"): _unordered,
    ("set", "set"): _unordered,
    ("set", "list"): _unordered,
    ("list", "set"): _unordered,
    ("tuple", "tuple"): _ordered,
    ("interval", "interval"): _intervals,
    ("matrix", "matrix"): _matrices,
    ("matrix", "tuple"): _vector,
    ("tuple", "matrix"): _vector,
    ("tuple", "list"): _tuple_and_list,
    ("list", "tuple"): _tuple_and_list,
}


def _compare_equations(reference: str, answer: str, first: _Structure, second: _Structure) -> bool | None:
    if first.kind == second.kind == "equation" and len(first.items) == len(second.items) == 2:
        verdict = _same_equation(first.items, second.items)
        if verdict is not None:
            return verdict
    (name, value), (given_name, given_value) = _named(reference), _named(answer)
    if name and given_name:
        return compare(value, given_value) if name == given_name else False
    if name and second.kind != "equation":
        return compare(value, answer)
    if given_name and first.kind != "equation":
        return compare(reference, given_value)
    if second.kind == "equation" and first.kind != "equation":
        return _chain(reference, second.items)
    return None if first.kind == second.kind else False


def _chain(reference: str, sides: Sequence[str]) -> bool | None:
    """`2 + 3 = 5` states 5, if it is true."""
    expressions = [read_expression(side) for side in sides]
    if any(side is None or side.rational is None for side in expressions):
        return None if any(side is None for side in expressions) else False
    values = {side.rational for side in expressions if side}
    return compare(reference, sides[-1]) if len(values) == 1 else False


def _same_equation(reference: Sequence[str], answer: Sequence[str]) -> bool | None:
    """Whether two equations say the same: the differences of their sides are multiples of each other."""
    sides = [read_expression(side) for side in (*reference, *answer)]
    if None in sides:
        return None
    left, right = (difference(*pair) for pair in ((sides[0], sides[1]), (sides[2], sides[3])))  # type: ignore[arg-type]
    if left is None or right is None:
        return None
    same = proportional(left, right)
    names = [_NAME.fullmatch(pair[0]) for pair in (reference, answer)]
    return None if same is False and names[0] and names[1] and reference[0] == answer[0] else same


def _are_relations(side: _Structure) -> bool:
    return side.kind == "list" and any(structure(item).kind == "relation" for item in side.items)


def _compare_relations(first: _Structure, second: _Structure) -> bool | None:
    """Relations that are no sets of numbers: equal side by side, or open. A relation is never a single value."""
    if first.kind == second.kind == "relation":
        signs = [_RELATION_SIGN.findall(side.items[0]) for side in (first, second)]
        sides = [[part.strip() for part in _RELATION_SIGN.split(side.items[0])] for side in (first, second)]
        same = signs[0] == signs[1] and all(compare(*pair) for pair in zip(*sides, strict=True))
        return True if same else None
    leaf = next((side for side in (first, second) if side.kind == "leaf"), None)
    if leaf is not None:
        return False if _is_read(leaf.items[0]) else None
    return None


def is_single(text: str) -> bool:
    """Whether a canonical text is one value: no list, set, tuple, interval, matrix or relation other than an equation."""
    return structure(text).kind in ("leaf", "equation") and "\\pm" not in text


def offers_several(text: str) -> bool:
    """Whether a canonical text separates at least two different parts with numbers in them, outside of any bracket.

    `(or 6)` is a part as well.
    """
    if _ASIDE.search(text):
        return True
    side = structure(text)
    return side.kind in ("list", "set") and sum(any(c.isdigit() for c in item) for item in _distinct(side.items)) > 1


_ASIDE = re.compile(
    r"\d.*\(\s*(?:or|and)\s*[-\d\\]|\(\s*\\text\s*\{\s*(?:or|and)[^{}]*\}\s*\d|\\text\s*\{\s*\(\s*(?:or|and)\s+\d"
)
