"""Exact arithmetic on expressions written by a model: a walk over the syntax tree with fractions, without `eval`.

Only whole numbers, `+ - * /`, a leading minus and brackets are accepted, so an expression can neither call functions nor grow
larger than its own text.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction

from rlllm.core.python_source import expression_tree

_MAX_CHARACTERS = 200
_SPELLINGS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})  # noqa: RUF001
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class ExpressionError(ValueError):
    """The text is no arithmetic expression, or divides by zero."""


def evaluate(text: str) -> tuple[Fraction, list[int]]:
    """The exact value of an expression, and the whole numbers in it from left to right.

    Raises:
        ExpressionError: anything but whole numbers, `+ - * /` and brackets; division by zero; over 200 characters.
    """
    text = text.translate(_SPELLINGS).strip()
    if len(text) > _MAX_CHARACTERS:
        raise ExpressionError(f"longer than {_MAX_CHARACTERS} characters")
    try:
        tree = expression_tree(text)
        numbers: list[int] = []
        return _value(tree, numbers), numbers
    except ZeroDivisionError as error:
        raise ExpressionError("divides by zero") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError("not an arithmetic expression") from error


def countdown_fault(text: str, numbers: Sequence[int], target: int) -> str | None:
    """Why an expression does not solve a countdown problem, in words; None if it does.

    A right side (`3 * 5 + 1 = 16`) may be given if it is the target. Every number must be used exactly once.
    """
    left, equals, right = text.partition("=")
    try:
        value, used = evaluate(left)
        if equals and evaluate(right)[0] != target:
            return f"says it makes {right.strip()}"
    except ExpressionError as error:
        return str(error)
    if sorted(used) != sorted(numbers):
        return f"uses {', '.join(map(str, sorted(used)))}"
    return None if value == target else f"makes {value}"


def _value(node: ast.expr, numbers: list[int]) -> Fraction:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            numbers.append(number)
            return Fraction(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, numbers)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            first = _value(left, numbers)
            return _OPERATORS[type(sign)](first, _value(right, numbers))
    raise ExpressionError("not an arithmetic expression")
