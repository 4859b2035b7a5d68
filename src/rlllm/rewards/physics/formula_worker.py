"""The child process of the `physics` reward: reads two formulas with sympy and compares them.

Equality is tested at random positive points, which is quicker and safer than simplifying. Only formulas that differ are
simplified, for the edit distance of their trees.
"""

from __future__ import annotations

import ast
import math
import random
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from rlllm.parsing.formulas import FUNCTIONS, FormulaError, read_formula
from rlllm.rewards.isolation.script_loop import serve

_POINTS = 12
_DRAWS = 10 * _POINTS
"""Points that are tried until so many have a value: a root of a difference has none at most of them."""
_LOW, _HIGH = 0.5, 2.0
"""Ends of the range of random points; positive, so that roots and logarithms have values."""
_TOLERANCE = 1e-6
_HOPELESS = 1e6
"""The residual of a formula that has no value where the right one has one."""
_FARTHEST = 0.6
"""Relative edit distance from which on a formula is worth nothing (PHYBench)."""
_GREEK = (
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "theta",
    "lambda",
    "mu",
    "rho",
    "sigma",
    "tau",
    "phi",
    "omega",
    "pi",
)
_WORDS = re.compile(rf"(?<![\\a-zA-Z])({'|'.join((*FUNCTIONS, *_GREEK))})(?![a-zA-Z])")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Whether `answer` equals `gold`, and where it does not, how similar they are or what is left of `equation`."""
    if "gold" not in request:
        # Loads the parser of LaTeX and what simplifies, which on a busy machine outlasts a deadline.
        first, second = read(r"\frac{x^2 - 1}{x + 1}", ("x",)), read("x", ("x",))
        return {"ready": similarity(first, second) > 0}
    symbols = tuple(request["symbols"])
    try:
        gold = read(request["gold"], symbols)
    except Exception as error:
        return {"gold": str(error)[:200]}
    given = read(request["answer"], symbols)
    if equal(gold, given):
        return {"equal": True}
    if request["equation"]:
        return {"equal": False, **motion_residual(gold, given, request["equation"])}
    return {"equal": False, "similarity": similarity(gold, given) if request["partial"] else 0.0}


@lru_cache(maxsize=4096)
def read(text: str, symbols: tuple[str, ...]) -> Any:
    """The sympy expression of a formula, plain or in LaTeX; of `R = ...` the right side.

    Raises:
        ValueError: it is none, or a relation, or several.
    """
    left, equals, right = text.strip().strip("$").rpartition("=")
    if equals and not re.fullmatch(r"\s*\\?[A-Za-z]+(?:_?\{?\w+\}?)?(?:\(\\?[a-z]\w*\))?\s*", left):
        raise ValueError("a relation, where a formula is asked for")
    plain = right.strip()
    if "\\" not in plain and "{" not in plain:
        try:
            formula = read_formula(plain)
        except FormulaError:
            pass
        else:
            if formula.names <= set(symbols) or not symbols:
                return _of_tree(formula.tree)
    return _of_latex(plain, symbols)


def _of_tree(node: ast.expr) -> Any:
    import sympy

    match node:
        case ast.Constant(value=int(number)):
            return sympy.Integer(number)
        case ast.Constant(value=float(number)):
            return sympy.Rational(str(number))
        case ast.Name(id="pi"):
            return sympy.pi
        case ast.Name(id=name):
            return sympy.Symbol(name, positive=True)
        case ast.UnaryOp(op=sign, operand=operand):
            return -_of_tree(operand) if isinstance(sign, ast.USub) else _of_tree(operand)
        case ast.BinOp(left=left, op=sign, right=right):
            first, second = _of_tree(left), _of_tree(right)
            match sign:
                case ast.Add():
                    return first + second
                case ast.Sub():
                    return first - second
                case ast.Mult():
                    return first * second
                case ast.Div():
                    return first / second
                case ast.Pow():
                    return first**second
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return getattr(sympy, "Abs" if name == "abs" else name)(_of_tree(argument))
    raise ValueError("no formula")


def _of_latex(text: str, symbols: Sequence[str]) -> Any:
    import sympy
    from latex2sympy2_extended import latex2sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig

    if re.search(r"[,;]|\\(?:text|or|quad|pm|mp)\b|\b(?:or|and)\b", text):
        raise ValueError("a list, where one formula is asked for")
    text = _WORDS.sub(r"\\\1 ", text)
    for symbol in symbols:
        head, _, index = symbol.partition("_")
        if index:
            before = r"(?<!\\)" if len(head) == 1 else r"(?<![a-zA-Z])"
            text = re.sub(rf"{before}{head}(?:_\{{{index}\}}|_?{index})(?![a-zA-Z0-9])", f"{head}_{index} ", text)
    text = re.sub(r"_\{(\w)\}", r"_\1 ", text).replace("**", "^")
    text = re.sub(r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", text)
    read = latex2sympy(text, conversion_config=ConversionConfig(lowercase_symbols=False))
    if not isinstance(read, sympy.Expr):
        raise ValueError("no formula")
    names = {symbol: str(symbol).replace("{", "").replace("}", "").strip() for symbol in read.free_symbols}
    return read.subs({symbol: sympy.Symbol(name, positive=True) for symbol, name in names.items()}, simultaneous=True)


def equal(first: Any, second: Any) -> bool:
    """Equal within 1e-6 at every random point where both have a value, at least half of those where the first has one."""
    compared = 0
    for point, left in _points(first, second):
        right = _number(second, point)
        if right is None:
            continue
        compared += 1
        if abs(left - right) > _TOLERANCE * max(abs(left), abs(right)):
            return False
    return 2 * compared >= _POINTS


def _points(*expressions: Any) -> Iterator[tuple[dict[Any, float], float]]:
    """Up to 12 random points for all names of the expressions, where the first one has a value, and that value."""
    names = sorted(set().union(*(expression.free_symbols for expression in expressions)), key=str)
    generator = random.Random(" ".join(map(str, names)))
    found = 0
    for _ in range(_DRAWS):
        point = {name: generator.uniform(_LOW, _HIGH) for name in names}
        value = _number(expressions[0], point)
        if value is not None:
            yield point, value
            found += 1
        if found == _POINTS:
            return


def _number(expression: Any, point: dict[Any, float]) -> float | None:
    value = complex(expression.evalf(15, subs=point))
    return value.real if math.isfinite(value.real) and abs(value.imag) < 1e-9 * max(1.0, abs(value.real)) else None


def similarity(gold: Any, given: Any) -> float:
    """0.6 - r, where r is the edit distance of the trees over the size of the right one; 0 from r = 0.6 on.

    Both are simplified before. Insertions, deletions and changes of a node cost 1; PHYBench's discount for whole subtrees is
    left out.

    Source: PHYBench (arXiv 2504.16074), the expression edit distance; Zhang & Shasha, SIAM J. Comput. 18 (1989), 1245.
    """
    from sympy import simplify
    from zss import simple_distance

    right, other = _tree(simplify(gold)), _tree(simplify(given))
    return max(0.0, _FARTHEST - simple_distance(other, right) / _size(right))


def _tree(expression: Any) -> Any:
    """A node for each operation, function, symbol and number; operands that commute in sympy's order."""
    from zss import Node

    node = Node(str(expression) if expression.is_Atom else type(expression).__name__)
    for part in expression.args:
        node.addkid(_tree(part))
    return node


def _size(tree: Any) -> int:
    return 1 + sum(_size(part) for part in tree.children)


def motion_residual(gold: Any, given: Any, equation: dict[str, Any]) -> dict[str, Any]:
    """What is left when a formula is put into the equation of motion, at random times and numbers.

    `residual` is the mean of |left - right| over the mean of |right| for the right formula. `starts` says whether the formula,
    and for an equation of second order its first derivative, begin as those of the right one, within 5 %.
    """
    import sympy

    time, symbol = sympy.Symbol("t", positive=True), sympy.Symbol(equation["symbol"], positive=True)
    order = equation["order"]
    rule = _of_tree(read_formula(equation["right"]).tree)

    def sides(form: Any) -> tuple[Any, Any]:
        return sympy.diff(form, time, order), rule.subs(symbol, form)

    left, right = sides(given)
    target = sides(gold)[0]
    known = [
        (abs(gap), abs(scale))
        for point, scale in _points(target, gold, given, rule)
        if (gap := _number(left - right, point)) is not None and scale
    ]
    if 2 * len(known) < _POINTS:
        return {"residual": _HOPELESS, "starts": False}
    residual = sum(gap for gap, _ in known) / sum(scale for _, scale in known)
    starts = all(_begins_alike(sympy.diff(gold, time, n), sympy.diff(given, time, n), time) for n in range(order))
    return {"residual": min(residual, _HOPELESS), "starts": starts}


def _begins_alike(gold: Any, given: Any, time: Any) -> bool:
    first, second = gold.subs(time, 0), given.subs(time, 0)
    for point, right in _points(first, second):
        other = _number(second, point)
        if other is None or abs(right - other) > 0.05 * abs(right) + 1e-9:
            return False
    return True


if __name__ == "__main__":
    serve(answer)
