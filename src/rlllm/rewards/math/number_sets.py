r"""Sets of real numbers, compared as sets: intervals, unions, complements, inequalities, excluded values, set-builder notation.

Every way of writing one is read into the same tree of spans. Two trees are one set if they hold the same of the numbers that
either names and of the gaps between these, which are finitely many. Where ends hold letters (`|x-a| \le b`), which have no
order, the spans themselves are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlllm.parsing.answer_text import without_text_macros
from rlllm.parsing.numbers import read_number
from rlllm.rewards.math.algebra import (
    Expression,
    approximate,
    constant,
    equal_expressions,
    proportional,
    read_expression,
    solve_linear,
)
from rlllm.rewards.math.canonical import split, squeezed


class _UnreadError(Exception):
    """The text is no set that can be read here."""


@dataclass(frozen=True, slots=True)
class _Span:
    """The numbers between two ends; None is infinity."""

    low: Expression | None
    high: Expression | None
    low_closed: bool = False
    high_closed: bool = False


@dataclass(frozen=True, slots=True)
class _Joined:
    """The union of sets, or what all of them share."""

    parts: tuple[_Tree, ...]
    shared: bool = False


@dataclass(frozen=True, slots=True)
class _Complement:
    """All real numbers but those of a set."""

    inner: _Tree


_Tree = _Span | _Joined | _Complement
_REALS = _Span(None, None)


@dataclass(frozen=True, slots=True)
class NumberSet:
    """A set of real numbers as a text writes it."""

    tree: _Tree
    variable: str = ""
    """The letter of an inequality; empty where the text names none."""
    solved: bool = True
    """Not an inequality that is still to be solved (`2x > 4`). A distance (`|x - 2| < 3`) is solved."""


def same_set(reference: NumberSet, answer: NumberSet) -> bool | None:
    """Whether two sets are equal; None where that is not known, or the answer is less solved than the reference."""
    if reference.variable and answer.variable and reference.variable != answer.variable:
        return False
    if reference.solved and not answer.solved:
        return None
    return _equal(reference.tree, answer.tree)


_WRITES_SET = re.compile(
    r"[<>]|!=|\\(?:le|ge|ne|cup|cap|in|notin|backslash|emptyset)(?![a-zA-Z])|\\mathbb|(?<![a-zA-Z])real|infty"
)


def writes_set(text: str) -> bool:
    """Whether a canonical text has a sign that sets and inequalities are written with. `(1,5)` alone may be a point."""
    return _WRITES_SET.search(text) is not None


@lru_cache(maxsize=8192)
def read_set(text: str) -> NumberSet | None:
    """The set that a canonical text is, as an interval too where it has two ends; None of anything else."""
    try:
        return _whole(text.strip().strip("$").strip())
    except (_UnreadError, RecursionError):
        return None


def repeats_distance(answer: str, question: str) -> bool:
    r"""Whether an answer such as `|x-2| < 3` holds a distance that the question asks about, turned or scaled too."""
    given = [read_expression(inside) for inside in _BETWEEN_BARS.findall(answer)]
    asked = [read_expression(inside) for inside in _BETWEEN_BARS.findall(question)] if any(given) else []
    return any(one and other and proportional(one, other) for one in given for other in asked)


_BETWEEN_BARS = re.compile(r"(?=\|([^|]+)\|)")
_BUILDER = re.compile(r"\\\{\s*(?P<head>[^|:<>]+?)\s*[|:]\s*(?P<condition>.+)\\\}", re.DOTALL)
_MEMBER = re.compile(r"(?P<name>[a-zA-Z]|\\[a-z]+)\s*(?P<sign>\\in|\\notin)(?![a-zA-Z])\s*(?P<set>.+)", re.DOTALL)
_RELATIONS = re.compile(r"[<>]|!=|\\(?:le|ge|ne|in|notin)(?![a-zA-Z])")
_ANY_NAME = re.compile(r"[a-zA-Z]|\\(?:alpha|beta|theta|lambda|mu|phi)")


def _whole(text: str) -> NumberSet:
    if match := _BUILDER.fullmatch(text):
        member = _MEMBER.fullmatch(match["head"])
        condition = _conditions(match["condition"])
        name = member["name"] if member else match["head"]
        if condition.variable != name or (member and member["sign"] != "\\in"):
            raise _UnreadError
        inside = _set(member["set"]) if member else _REALS
        return NumberSet(_intersection([inside, condition.tree]), "", condition.solved)
    return _conditions(text) if _RELATIONS.search(text) else NumberSet(_set(text))


_CUP, _CAP = re.compile(r"\\cup(?![a-zA-Z])"), re.compile(r"\\cap(?![a-zA-Z])")
_MINUS = re.compile(r"\\backslash(?![a-zA-Z])|(?<=[)\]}])\s*-(?=\s*\\\{)")
_EXCEPT = re.compile(
    r"(?:the set of )?all real(?: number)?s,? (?:except(?: for)?|other than|but|excluding)(?:\s*[a-z]\s*=)?\s*(?P<values>.+)",
    re.IGNORECASE,
)
_INTERVAL = re.compile(r"(?P<left>[\[(\]])(?P<inside>.*)(?P<right>[\])\[])", re.DOTALL)
_COMMA, _LISTED = re.compile(r"[,;]"), re.compile(r"[,;]|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])")


def _set(text: str) -> _Tree:
    """A set without a condition: reals, intervals, finite sets, and what is made of them."""
    text = text.strip()
    for sign in (_CUP, _CAP):
        if len(parts := split(text, sign)) > 1:
            sets = [_set(part) for part in parts]
            return _Joined(tuple(sets)) if sign is _CUP else _intersection(sets)
    if len(parts := split(text, _MINUS)) > 1:
        return _intersection([_set(parts[0]), *(_Complement(_set(part)) for part in parts[1:])])
    plain = squeezed(text)
    if plain in ("\\mathbb{R}", "\\mathbbR"):
        return _REALS
    if plain == "\\emptyset":
        return _Joined(())
    if match := _EXCEPT.fullmatch(" ".join(without_text_macros(text).replace("$", "").split())):
        return _Complement(_points(split(match["values"], _LISTED)))
    if text.startswith("\\{") and text.endswith("\\}"):
        return _points(split(text[2:-2], _COMMA))
    if len(parts := split(text, _COMMA)) > 1:
        return _points(parts)
    return _interval(text)


def _interval(text: str) -> _Span:
    match = _INTERVAL.fullmatch(text)
    ends = split(match["inside"], _COMMA) if match else []
    if match is None or len(ends) != 2:
        raise _UnreadError
    low, high = (_end(end) for end in ends)
    if low == "+" or high == "-":
        raise _UnreadError
    span = _Span(
        None if isinstance(low, str) else low,
        None if isinstance(high, str) else high,
        match["left"] == "[",
        match["right"] == "]",
    )
    if _is_backwards(span):
        raise _UnreadError
    return span


def _is_backwards(span: _Span) -> bool:
    ends = [approximate(end) if end else None for end in (span.low, span.high)]
    return ends[0] is not None and ends[1] is not None and ends[0] >= ends[1]


def _end(text: str) -> Expression | str:
    """An end of an interval; `+` or `-` of infinity."""
    plain = squeezed(text).removeprefix("+")
    return {"\\infty": "+", "-\\infty": "-"}.get(plain) or _value(text)


def _value(text: str) -> Expression:
    number = read_number(text) if "=" not in text else None
    if number and number.unit.empty:
        return constant(number.share)
    value = read_expression(text)
    if value is None:
        raise _UnreadError
    return value


_PLUS_MINUS = re.compile(r"\\pm(?![a-zA-Z])")


def _points(texts: Sequence[str]) -> _Joined:
    return _Joined(tuple(_Span(value, value, True, True) for value in _values(texts)))


def _values(texts: Sequence[str]) -> list[Expression]:
    """The values of a list, with both of `\\pm 2`."""
    if not texts:
        raise _UnreadError
    signs = [[_PLUS_MINUS.sub(sign, text) for sign in "+-"] if "\\pm" in text else [text] for text in texts]
    return [_value(text.strip().removeprefix("+")) for both in signs for text in both]


_OR = re.compile(r"\\text\s*\{\s*,?\s*or\s*\}|(?<![a-zA-Z\\])or(?![a-zA-Z])|\\cup(?![a-zA-Z])")
_AND = re.compile(
    r"[,;\n]|\\text\s*\{\s*,?\s*and\s*\}|(?<![a-zA-Z\\])and(?![a-zA-Z])|\\q?quad(?![a-zA-Z])|\\cap(?![a-zA-Z])"
)
_EITHER = re.compile(f"{_OR.pattern}|{_AND.pattern}")


def _conditions(text: str) -> NumberSet:
    """Relations in one variable.

    `x \\ne 1, 2` excludes both. Relations with "or" are alternatives. Otherwise all of them hold, if they can: `x < 0, x > 1`
    and "x < 0 and x > 1" can only mean either.
    """
    parts: list[str] = []
    for part in split(text, _EITHER):
        if parts and not _RELATIONS.search(part) and _EXCLUDED.fullmatch(parts[-1]):
            parts[-1] += f", {part}"
        else:
            parts.append(part)
    if len(parts) == 1:
        return _relation(parts[0])
    alternatives = split(text, _OR)
    if len(alternatives) > 1:
        if sum(_EXCLUDED.fullmatch(part) is not None for part in alternatives) > 1:
            raise _UnreadError  # "x != 1 or x != 2" says everything, and means neither
        return _together([_conditions(part) for part in alternatives], shared=False)
    sets = [_relation(part) for part in parts]
    return _together(sets, shared=_overlap([condition.tree for condition in sets]))


def _together(sets: Sequence[NumberSet], *, shared: bool) -> NumberSet:
    names = {condition.variable for condition in sets}
    if len(names) != 1:
        raise _UnreadError
    trees = [condition.tree for condition in sets]
    tree = _intersection(trees) if shared else _Joined(tuple(trees))
    return NumberSet(tree, names.pop(), all(condition.solved for condition in sets))


def _intersection(trees: Sequence[_Tree]) -> _Tree:
    """What all share; two rays that meet are a span."""
    trees = [tree for tree in trees if tree != _REALS]
    if len(trees) < 2:
        return trees[0] if trees else _REALS
    rays = [tree for tree in trees if isinstance(tree, _Span)]
    if len(trees) == len(rays) == 2:
        below = next((ray for ray in rays if ray.low is None), None)
        above = next((ray for ray in rays if ray.high is None), None)
        if below and above and below is not above:
            return _Span(above.low, below.high, above.low_closed, below.high_closed)
    return _Joined(tuple(trees), shared=True)


_EXCLUDED = re.compile(r"(?P<name>[a-zA-Z]|\\[a-z]+)\s*(?:\\ne(?![a-zA-Z])|!=)\s*(?P<values>[^<>=]+)")
_SIGN = re.compile(r"\s*(\\(?:le|ge|ne)(?![a-zA-Z])|<|>|!=)\s*")
_TURNED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
_DISTANCE = re.compile(r"\|([^|]+)\|")


def _relation(text: str) -> NumberSet:
    """`x < 3`, `1 < x \\le 2`, `x \\ne 0`, `|x - 2| < 3`, `x \\in (0, 1)`, and what is linear in one variable."""
    if member := _MEMBER.fullmatch(text):
        inside = _set(member["set"])
        return NumberSet(_Complement(inside) if member["sign"] == "\\notin" else inside, member["name"])
    if excluded := _EXCLUDED.fullmatch(text):
        values = _values(split(excluded["values"], _COMMA))
        rays = [_Joined((_Span(None, value), _Span(value, None))) for value in values]
        return NumberSet(_intersection(rays), excluded["name"])
    parts = _SIGN.split(text.strip())
    sides, signs = [side.strip() for side in parts[::2]], ["\\ne" if sign == "!=" else sign for sign in parts[1::2]]
    if not signs or not all(sides) or len({sign[:2].replace("\\l", "<").replace("\\g", ">") for sign in signs}) > 1:
        raise _UnreadError
    name = _variable(sides)
    pairs = [_pair(left, sign, right, name) for left, sign, right in zip(sides, signs, sides[1:], strict=False)]
    return NumberSet(_intersection([tree for tree, _ in pairs]), name, all(solved for _, solved in pairs))


def _variable(sides: Sequence[str]) -> str:
    """The letter that a relation is about: one inside `| |`, else the one that stands alone, else the only one.

    Of several, x, y, z or t before the rest.
    """
    distances = [match[1] for side in sides if (match := _DISTANCE.fullmatch(side))]
    alone = [] if distances else [side for side in sides if _ANY_NAME.fullmatch(side)]
    if len(sides) == 3 and sides[1] in alone:
        return sides[1]
    expressions = [read_expression(text) for text in distances or sides]
    names = set(alone) or {name for expression in expressions if expression for name in expression.symbols}
    found = next((name for name in "xyzt" if name in names), "")
    if not found and (len(names) == 1 or alone):
        found = min(names)
    if not _ANY_NAME.fullmatch(found):
        raise _UnreadError
    return found


def _pair(left: str, sign: str, right: str, name: str) -> tuple[_Tree, bool]:
    """Two sides of a relation as a set, and whether it is solved."""
    low, high = (left, right) if sign in ("<", "\\le") else (right, left)
    if name in (left, right) and (low == "-\\infty" or high.removeprefix("+") == "\\infty"):
        return _REALS, True
    if sign != "\\ne" and _DISTANCE.fullmatch(right):
        left, sign, right = right, _TURNED[sign], left
    distance = _DISTANCE.fullmatch(left)
    if distance is None:
        return _half(_value(left), sign, _value(right), name)[0], name in (left, right)
    inner, bound = _value(distance[1]), _value(right)
    if sign == "\\ne" or name in bound.symbols:
        raise _UnreadError
    halves = [_half(side, sign, bound, name) for side in (inner, _value(f"-({distance[1]})"))]
    trees = [tree for tree, _ in halves]
    tree = _intersection(trees) if sign in ("<", "\\le") else _Joined(tuple(trees))
    return tree, abs(halves[0][1]) == 1


def _half(left: Expression, sign: str, right: Expression, name: str) -> tuple[_Tree, int]:
    """The set of a linear relation, and the coefficient of its variable as a whole number, 0 where it is none."""
    solution = solve_linear(left, right, name)
    if solution is None:
        raise _UnreadError
    value, coefficient = solution
    slope = int(coefficient) if coefficient.denominator == 1 else 0
    if sign == "\\ne":
        return _Joined((_Span(None, value), _Span(value, None))), slope
    closed = sign in ("\\le", "\\ge")
    if (sign in ("<", "\\le")) == (coefficient > 0):
        return _Span(None, value, high_closed=closed), slope
    return _Span(value, None, low_closed=closed), slope


def _equal(first: _Tree, second: _Tree) -> bool | None:
    places = _order([*_ends(first), *_ends(second)])
    if places is None:
        return _same_spans(first, second)
    last = 2 * max(places.values(), default=-1) + 3
    return all(_holds(first, place, places) == _holds(second, place, places) for place in range(last))


def _overlap(trees: Sequence[_Tree]) -> bool:
    """Whether some number is in all sets; taken to be so where that is not known."""
    places = _order([end for tree in trees for end in _ends(tree)])
    if places is None:
        return True
    last = 2 * max(places.values(), default=-1) + 3
    return any(all(_holds(tree, place, places) for tree in trees) for place in range(last))


_Places = dict[int, int]
"""Identity of an end to its rank among the different ends. Rank k is at place 2k + 1; even places are the gaps."""


def _order(ends: Sequence[Expression]) -> _Places | None:
    """The ranks of ends; None where one has no value, or two are too close to be told apart."""
    values = [approximate(end) for end in ends]
    known = [value for value in values if value is not None]
    if len(known) < len(ends):
        return None
    order = sorted(range(len(ends)), key=lambda index: known[index])
    places: _Places = {}
    rank = -1
    for position, index in enumerate(order):
        before = order[position - 1] if position else None
        if before is None or known[index] - known[before] > 1e-9 * max(1.0, abs(known[index])):
            rank += 1
        elif equal_expressions(ends[before], ends[index]) is not True:
            return None
        places[id(ends[index])] = rank
    return places


def _ends(tree: _Tree) -> Iterator[Expression]:
    if isinstance(tree, _Span):
        yield from (end for end in (tree.low, tree.high) if end is not None)
    elif isinstance(tree, _Joined):
        for part in tree.parts:
            yield from _ends(part)
    else:
        yield from _ends(tree.inner)


def _holds(tree: _Tree, place: int, places: _Places) -> bool:
    """Whether a set holds what is at a place."""
    if isinstance(tree, _Joined):
        return (all if tree.shared else any)(_holds(part, place, places) for part in tree.parts)
    if isinstance(tree, _Complement):
        return not _holds(tree.inner, place, places)
    low = -1 if tree.low is None else 2 * places[id(tree.low)] + 1
    high = place + 1 if tree.high is None else 2 * places[id(tree.high)] + 1
    return low < place < high or (place == low and tree.low_closed) or (place == high and tree.high_closed)


def _same_spans(first: _Tree, second: _Tree) -> bool | None:
    """True where the spans of two sets are the same one by one, else None."""
    sides = [_spans(tree) for tree in (first, second)]
    if sides[0] is None or sides[1] is None or len(sides[0]) != len(sides[1]):
        return None
    left = list(sides[1])
    for span in sides[0]:
        match = next((other for other in left if _same_span(span, other)), None)
        if match is None:
            return None
        left.remove(match)
    return True


def _spans(tree: _Tree) -> list[_Span] | None:
    """The spans of a union of spans."""
    if isinstance(tree, _Span):
        return [tree]
    if isinstance(tree, _Joined) and not tree.shared:
        parts = [_spans(part) for part in tree.parts]
        return [span for part in parts if part for span in part] if None not in parts else None
    return None


def _same_span(first: _Span, second: _Span) -> bool:
    if (first.low_closed, first.high_closed) != (second.low_closed, second.high_closed):
        return False
    return all(
        a is b or (a is not None and b is not None and equal_expressions(a, b) is True)
        for a, b in ((first.low, second.low), (first.high, second.high))
    )
