"""Formulas of named quantities, `m*g*h + m*v^2/2`: read into a tree that is checked node by node, and given values.

Allowed are names, numbers, `+ - * / ^ **`, brackets, and the functions and constants listed here, so that a formula that a
model wrote can be given values as safely as one of ours.
"""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import CodeType
from typing import Any

from rlllm.core.python_source import expression_tree

_LONGEST = 1000
_CONSTANTS: Mapping[str, float] = {"pi": math.pi}
FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "exp": math.exp,
    "log": math.log,
    "ln": math.log,
    "abs": abs,
}
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_GLOBALS: dict[str, Any] = {"__builtins__": {}, **FUNCTIONS, **_CONSTANTS}


class FormulaError(ValueError):
    """The text is no formula of the allowed form."""


@dataclass(frozen=True)
class Formula:
    """A formula that has been read.

    Args:
        tree: the syntax tree, which holds allowed nodes only.
        names: the quantities in it.
    """

    tree: ast.expr = field(compare=False)
    names: frozenset[str]

    def value(self, values: Mapping[str, float]) -> float:
        """The value for these quantities.

        Raises:
            FormulaError: a name has no value, or the value is no finite real number.
        """
        try:
            value = eval(self._code, _GLOBALS, dict(values))
        except (ArithmeticError, ValueError, TypeError, NameError) as error:
            raise FormulaError(f"has no value: {error}") from error
        if isinstance(value, complex) or not math.isfinite(value):
            raise FormulaError("the value is no finite number")
        return value

    @cached_property
    def _code(self) -> CodeType:
        """Compiled; the tree has been checked, and with floats for all numbers no power can grow without end."""
        tree = ast.fix_missing_locations(ast.Expression(_Floats().visit(copy.deepcopy(self.tree))))
        return compile(tree, "<formula>", "eval")

    def with_replaced(self, replacements: Mapping[str, Formula]) -> Formula:
        """The same with formulas in place of names."""
        return formula_of(_Replaced(replacements).visit(expression_tree(ast.unparse(self.tree))))

    def terms(self) -> list[Formula]:
        """What is added up in it, signs left out; the formula itself where nothing is."""

        def parts(node: ast.expr) -> list[ast.expr]:
            match node:
                case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                    return [*parts(left), *parts(right)]
            return [node]

        return [formula_of(part) for part in parts(self.tree)]

    def __str__(self) -> str:
        """The formula in the syntax that is read, with `^` for powers and no blanks around `*`, `/` and `^`."""
        text = ast.unparse(self.tree)
        return text.replace(" ** ", "^").replace(" * ", "*").replace(" / ", "/")


@lru_cache(maxsize=4096)
def read_formula(text: str) -> Formula:
    """The formula that a text is.

    Raises:
        FormulaError: anything but names, numbers, operations and the functions of `FUNCTIONS`; over 1,000 characters.
    """
    if len(text) > _LONGEST:
        raise FormulaError(f"longer than {_LONGEST} characters")
    try:
        return formula_of(expression_tree(text.replace("^", "**").strip()))
    except FormulaError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError("no formula") from error


def formula_of(tree: ast.expr) -> Formula:
    """The formula of a syntax tree. Raises FormulaError where it holds more than is allowed."""
    return Formula(tree, frozenset(_names(tree)))


def _names(node: ast.expr) -> set[str]:
    match node:
        case ast.Constant(value=value) if isinstance(value, int | float) and not isinstance(value, bool):
            return set()
        case ast.Name(id=name):
            return set() if name in _CONSTANTS else {name}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _names(operand)
        case ast.BinOp(left=left, op=sign, right=right) if isinstance(sign, _OPERATORS):
            return _names(left) | _names(right)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return _names(argument)
    raise FormulaError("no formula")


class _Floats(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> Any:
        assert isinstance(node.value, int | float)
        return ast.Constant(float(node.value))


class _Replaced(ast.NodeTransformer):
    def __init__(self, replacements: Mapping[str, Formula]) -> None:
        self._replacements = replacements

    def visit_Name(self, node: ast.Name) -> Any:
        return self._replacements[node.id].tree if node.id in self._replacements else node
