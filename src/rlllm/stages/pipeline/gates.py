"""Gates: comparisons of what steps measured, without which a pipeline does not go on.

    gate: sft.pass@1.difference > 0 and sft.pass@1.p < 0.05

A name is `STEP.MEASURE.PART`, or `STEP.TASK.VALUE.PART` of an evaluation. Numbers, `+ - * /`, comparisons, `and`, `or`, `not`,
`abs`, `min` and `max` are all there is. A number that was not measured lets no gate hold.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rlllm.core.errors import ConfigError, closest
from rlllm.core.python_source import expression_tree
from rlllm.stages.pipeline.measurable import Measurable, spelled

_NAME = re.compile(r"(?<![\w.])[A-Za-z_][\w-]*(?:\.[\w@%+-]+)+")
_PLACE = re.compile(r"\bname_(\d+)\b")
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_COMPUTE: Mapping[type[ast.operator], Callable[[Any, Any], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {"abs": abs, "min": min, "max": max}
_LONGEST = 2000
"""Characters of a gate."""

Numbers = Mapping[str, float | None]
"""Full name, `sft.pass@1.difference` -> the number; None where it was not measured."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """What became of one gate.

    Args:
        step: the step behind which it stands.
        gate: as it was written.
        holds: whether the pipeline goes on.
        numbers: of every name in it.
        failed: the first part of it that does not hold, with its numbers and what else there is to say; empty where it holds.
    """

    step: str
    gate: str
    holds: bool
    numbers: Numbers
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate that was read.

    Args:
        text: as it was written.
        names: full names, as they stand in it.
        tree: of the comparison, with `name_0`, `name_1`, ... for the names.
    """

    text: str
    names: tuple[str, ...]
    tree: ast.expr

    @classmethod
    def read(cls, text: str) -> Gate:
        """Raises ConfigError for what is no comparison."""
        names = tuple(dict.fromkeys(match[0] for match in _NAME.finditer(text)))
        places = {name: f"name_{number}" for number, name in enumerate(names)}
        try:
            if len(text) > _LONGEST:
                raise ValueError(f"longer than {_LONGEST} characters")
            tree = expression_tree(_NAME.sub(lambda match: places[match[0]], text.strip()))
            gate = cls(text.strip(), names, tree)
            gate._check(tree, comparison=True)
        except ConfigError:
            raise
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(
                f"a gate cannot be read: {getattr(error, 'msg', error)}", given=text, hint=_FORM
            ) from error
        return gate

    def result(self, step: str, numbers: Numbers) -> GateResult:
        """Whether it holds; `numbers` has every name."""
        own = {name: numbers[name] for name in self.names}
        parts = (
            self.tree.values if isinstance(self.tree, ast.BoolOp) and isinstance(self.tree.op, ast.And) else [self.tree]
        )
        failed = next((said for part in parts if (said := self._failure(part, own))), "")
        return GateResult(step, self.text, not failed, own, failed)

    def _failure(self, part: ast.expr, numbers: Numbers) -> str:
        """Why a part does not hold; empty where it does."""
        names = [self.names[int(number)] for number in _PLACE.findall(ast.unparse(part))]
        unknown = [name for name in names if numbers[name] is None]
        if unknown:
            return f"{self._text(part)}: {', '.join(dict.fromkeys(unknown))} was not measured"
        try:
            if self._value(part, numbers):
                return ""
        except ArithmeticError as error:
            return f"{self._text(part)}: {error}, with {_shown(names, numbers)}"
        return f"{self._text(part)} does not hold: {_shown(names, numbers)}"

    def _text(self, part: ast.expr) -> str:
        return _PLACE.sub(lambda match: self.names[int(match[1])], ast.unparse(part))

    def _check(self, node: ast.expr, *, comparison: bool) -> None:
        """Raise ConfigError for everything that a gate may not have."""
        match node:
            case ast.BoolOp(values=values) if comparison:
                inner, wanted = list(values), True
            case ast.UnaryOp(op=ast.Not(), operand=operand) if comparison:
                inner, wanted = [operand], True
            case ast.Compare(left=left, ops=ops, comparators=others) if comparison and all(
                type(op) in _COMPARE for op in ops
            ):
                inner, wanted = [left, *others], False
            case ast.BinOp(left=left, op=op, right=right) if not comparison and type(op) in _COMPUTE:
                inner, wanted = [left, right], False
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand) if not comparison:
                inner, wanted = [operand], False
            case ast.Call(func=ast.Name(id=name), args=[_, *_] as inner, keywords=[]) if (
                not comparison and name in _FUNCTIONS
            ):
                wanted = False
            case ast.Constant(value=int() | float() as value) if not comparison and not isinstance(value, bool):
                return
            case ast.Name(id=name) if not comparison and _PLACE.fullmatch(name):
                return
            case _:
                what = "is no comparison" if comparison else "is no number"
                raise ConfigError(f"in a gate, {self._text(node)} {what}", given=self.text, hint=_FORM)
        for part in inner:
            self._check(part, comparison=wanted)

    def _value(self, node: ast.expr, numbers: Numbers) -> Any:
        """The value of a tree that `_check` has let through."""
        match node:
            case ast.BoolOp(op=op, values=values):
                held = (self._value(value, numbers) for value in values)
                return all(held) if isinstance(op, ast.And) else any(held)
            case ast.Compare(left=left, ops=ops, comparators=others):
                values = [self._value(side, numbers) for side in (left, *others)]
                return all(_COMPARE[type(op)](*pair) for op, pair in zip(ops, pairwise(values), strict=True))
            case ast.BinOp(left=left, op=op, right=right):
                return _COMPUTE[type(op)](self._value(left, numbers), self._value(right, numbers))
            case ast.UnaryOp(op=op, operand=operand):
                value = self._value(operand, numbers)
                return not value if isinstance(op, ast.Not) else -value if isinstance(op, ast.USub) else value
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _FUNCTIONS[name](*(self._value(argument, numbers) for argument in arguments))
            case ast.Name(id=name):
                return numbers[self.names[int(name.removeprefix("name_"))]]
            case ast.Constant(value=value):
                return value
        raise AssertionError(ast.dump(node))


_FORM = (
    "for example sft.pass@1.difference > 0 and sft.pass@1.p < 0.05; a minus has spaces around it, and a space in the name of a "
    "measure is written as -"
)


def _shown(names: Sequence[str], numbers: Numbers) -> str:
    return ", ".join(f"{name} is {numbers[name]:.4g}" for name in dict.fromkeys(names))


def check_names(gate: Gate, step: str, reached: Mapping[str, Measurable], others: Sequence[str]) -> None:
    """Check a gate's names before anything runs.

    Args:
        gate: the gate.
        step: the step behind which it stands.
        reached: this step and those before it -> what they measure.
        others: steps that are not done by then.

    Raises:
        ConfigError: a name means nothing, or something that is not measured by then.
    """
    for name in gate.names:
        of, _, rest = name.partition(".")
        if of in others:
            raise ConfigError(
                f"the gate of {step} reads {name}, and {of} may not be done by then",
                given=gate.text,
                exists=sorted(reached),
                hint=f"needs: [{of}] in {step}",
            )
        if of not in reached:
            raise ConfigError(
                f"the gate of {step} reads {name}, and {of} is no step",
                given=gate.text,
                exists=sorted(reached),
                hint=_FORM,
            )
        _check_measure(gate, step, of, rest, reached[of])


def _check_measure(gate: Gate, step: str, of: str, rest: str, measurable: Measurable) -> None:
    if measurable.has(spelled(rest)):
        return
    known = [f"{of}.{name}" for name in measurable.examples()]
    near = closest(f"{of}.{rest}", known, cutoff=0.75)
    raise ConfigError(
        f"the gate of {step} reads {of}.{rest}, which {of} does not measure",
        given=gate.text,
        exists=[] if near else known,
        hint=f"did you mean {near}?" if near else _FORM,
    )
