"""The dataset `arithmetic`: sums with worked steps.

Level 1: one digit; 2: two digits (default); 3: three digits; 4: two operations; 5: products. Levels 1 to 3 are worked column
by column from the right, so that every step can be checked from its own line and the digits of the question. Mistakes are a
forgotten carry or borrow (the usual one), the digits of the answer in the order in which they were computed, and a column
that is off by one.
"""

from __future__ import annotations

import random
from functools import partial

from rlllm.data.procedural.problems import Problem, Solution
from rlllm.data.procedural.procedural_task import ProceduralTask

WORDINGS = ("What is {}?", "Compute {}.", "{} = ?")
_PLACES = ("Ones", "Tens", "Hundreds", "Thousands")
_FORGETS_CARRY = 0.85
"""Share of slips that forget a carry, where there is one."""
_REVERSES = 0.8
"""Share of the other slips that reverse the answer's digits, where that changes it; the rest get a column wrong by one."""


def _column_sum(digits: int, generator: random.Random) -> Problem:
    low = 10 ** (digits - 1) if digits > 1 else 0
    first, second = (generator.randint(low, 10**digits - 1) for _ in range(2))
    if generator.random() < 0.5:
        terms, sign = sorted((first, second)), 1
    else:
        first, second = max(first, second), min(first, second)
        terms, sign = [first, second], -1
    symbol = "+" if sign > 0 else "-"
    return Problem(
        task="arithmetic",
        level=digits,
        key=f"arithmetic {terms[0]} {symbol} {terms[1]}",
        prompt=generator.choice(WORDINGS).format(f"{first} {symbol} {second}"),
        answer=str(first + sign * second),
        solve=partial(_solve_columns, first, second, sign),
        tricky=bool(_carries(first, second, sign)),
    )


def _solve_columns(first: int, second: int, sign: int, generator: random.Random, slip: bool) -> Solution:
    carries = _carries(first, second, sign)
    if not slip:
        return _columns(first, second, sign)
    if carries and generator.random() < _FORGETS_CARRY:
        return _columns(first, second, sign, forget=generator.choice(carries))
    right = _columns(first, second, sign)
    backwards = str(int(right.answer[::-1]))
    if backwards != right.answer and generator.random() < _REVERSES:
        return Solution(right.steps, backwards)
    return _columns(first, second, sign, wrong=generator.randrange(len(str(first))), by=generator.choice((-1, 1)))


def _carries(first: int, second: int, sign: int) -> list[int]:
    """Columns (0 = ones) that receive a carry or a borrow. The last carry of a sum is written down, not received."""
    width = len(str(max(first, second)))
    if sign > 0:
        return [place for place in range(1, width) if first % 10**place + second % 10**place >= 10**place]
    return [place for place in range(1, width) if first % 10**place < second % 10**place]


def _columns(
    first: int, second: int, sign: int, *, forget: int | None = None, wrong: int | None = None, by: int = 0
) -> Solution:
    """Add (sign 1) or subtract (sign -1) column by column, with at most one slip.

    Args:
        forget: the column whose incoming carry or borrow is left out.
        wrong: the column whose result is off by `by`.
    """
    width = len(str(max(first, second)))
    steps, written, carry = [], "", 0
    for place in range(width):
        carry = 0 if place == forget else carry
        top, bottom = first // 10**place % 10, second // 10**place % 10
        borrow = int(sign < 0 and top - bottom - carry < 0)
        value = top + 10 * borrow + sign * (bottom + carry) + (by if place == wrong else 0)
        value = abs(value)
        last = place == width - 1
        steps.append(_step(place, top + 10 * borrow, bottom, carry, sign, value))
        written = (str(value) if last else str(value % 10)) + written
        carry = borrow if sign < 0 else int(value >= 10)
    return Solution(tuple(steps), str(int(written)))


def _step(place: int, top: int, bottom: int, carry: int, sign: int, value: int) -> tuple[str, str]:
    symbol = "+" if sign > 0 else "-"
    terms = [str(top), str(bottom), *([str(carry)] if carry else [])]
    return f"{symbol.join(terms)}={value}", f"{_PLACES[place]}: {f' {symbol} '.join(terms)} = {value}."


def _two_operations(generator: random.Random) -> Problem:
    first, second, third = (generator.randint(10, 99), generator.randint(10, 99), generator.randint(2, 19))
    symbol = generator.choice("+-")
    middle = first + second
    answer = middle + third if symbol == "+" else middle - third
    low, high = sorted((first, second))
    return Problem(
        task="arithmetic",
        level=4,
        key=f"arithmetic {low} + {high} {symbol} {third}",
        prompt=generator.choice(WORDINGS).format(f"{first} + {second} {symbol} {third}"),
        answer=str(answer),
        solve=partial(_solve_two, first, second, symbol, third),
    )


def _solve_two(first: int, second: int, symbol: str, third: int, generator: random.Random, slip: bool) -> Solution:
    slips = _slips(2, generator, slip)
    middle = first + second + slips[0]
    answer = (middle + third if symbol == "+" else middle - third) + slips[1]
    steps = (
        (f"{first}+{second}={middle}", f"First, {first} + {second} = {middle}."),
        (f"{middle}{symbol}{third}={answer}", f"Then {middle} {symbol} {third} = {answer}."),
    )
    return Solution(steps, str(answer))


def _product(generator: random.Random) -> Problem:
    first, second = generator.randint(11, 99), generator.randint(2, 9)
    return Problem(
        task="arithmetic",
        level=5,
        key=f"arithmetic {first} * {second}",
        prompt=generator.choice(WORDINGS).format(f"{first} * {second}"),
        answer=str(first * second),
        solve=partial(_solve_product, first, second),
    )


def _solve_product(first: int, second: int, generator: random.Random, slip: bool) -> Solution:
    slips = _slips(3, generator, slip)
    tens, ones = first // 10 * 10, first % 10
    left, right = tens * second + 10 * slips[0], ones * second + slips[1]
    answer = left + right + 10 * slips[2]
    steps = (
        (f"{tens}*{second}={left}", f"Tens: {tens} * {second} = {left}."),
        (f"{ones}*{second}={right}", f"Ones: {ones} * {second} = {right}."),
        (f"{left}+{right}={answer}", f"Together {left} + {right} = {answer}."),
    )
    return Solution(steps, str(answer))


def _slips(steps: int, generator: random.Random, slip: bool) -> list[int]:
    """How far each step's result is off: zero everywhere, or one off by one."""
    offsets = [0] * steps
    if slip:
        offsets[generator.randrange(steps)] = generator.choice((-1, 1))
    return offsets


arithmetic = ProceduralTask(
    name="arithmetic",
    tiers={
        1: partial(_column_sum, 1),
        2: partial(_column_sum, 2),
        3: partial(_column_sum, 3),
        4: _two_operations,
        5: _product,
    },
    default_level=2,
    rewards=("exact",),
)
