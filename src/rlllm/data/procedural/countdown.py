"""The dataset `countdown`: reach a target with the given numbers, each used once. Level n has n + 1 numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from rlllm.data.procedural.problems import Problem, Solution
from rlllm.data.procedural.procedural_task import ProceduralTask

_HIGHEST_NUMBER = 12
_HIGHEST_TARGET = 99
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}
_Step = tuple[str, int]
"""An operation and the number it brings in."""


def _draw(level: int, generator: random.Random) -> Problem:
    while True:
        first, *others = (generator.randint(1, _HIGHEST_NUMBER) for _ in range(level + 1))
        chain = [(generator.choice(tuple(OPERATIONS)), number) for number in others]
        target = _values(first, chain)[-1]
        if all(0 < value <= _HIGHEST_TARGET for value in _values(first, chain)):
            break
    numbers = [first, *others]
    generator.shuffle(numbers)
    listed = f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
    return Problem(
        task="countdown",
        level=level,
        key=f"countdown {sorted(numbers)} {target}",
        prompt=f"Make {target} from {listed}.",
        answer=_expression(first, chain),
        solve=partial(_solve, first, chain),
        extra={"numbers": numbers, "target": target},
    )


def _values(first: int, chain: list[_Step]) -> list[int]:
    values = [first]
    for symbol, number in chain:
        values.append(OPERATIONS[symbol](values[-1], number))
    return values


def _expression(first: int, chain: list[_Step]) -> str:
    """The chain as an expression; brackets only where the order of operations needs them."""
    text, additive = str(first), False
    for symbol, number in chain:
        if symbol == "*" and additive:
            text = f"({text})"
        text, additive = f"{text}{symbol}{number}", symbol != "*"
    return text


def _solve(first: int, chain: list[_Step], generator: random.Random, slip: bool) -> Solution:
    if slip:
        first, chain = _miss(first, chain, generator)
    values = _values(first, chain)
    steps = []
    for before, (symbol, number), after in zip(values, chain, values[1:], strict=False):
        steps.append((f"{before}{symbol}{number}={after}", f"{before} {symbol} {number} makes {after}."))
    return Solution(tuple(steps), _expression(first, chain))


def _miss(first: int, chain: list[_Step], generator: random.Random) -> tuple[int, list[_Step]]:
    """The same numbers with one operation changed, so that the target is missed."""
    target = _values(first, chain)[-1]
    misses = []
    for place, (symbol, number) in enumerate(chain):
        for other in OPERATIONS:
            changed = [*chain[:place], (other, number), *chain[place + 1 :]]
            if other != symbol and _values(first, changed)[-1] != target:
                misses.append(changed)
    return first, generator.choice(misses)


countdown = ProceduralTask(
    name="countdown",
    tiers={level: partial(_draw, level) for level in (1, 2, 3, 4)},
    default_level=2,
    rewards=("countdown",),
)
