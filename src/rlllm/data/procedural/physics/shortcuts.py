"""The shortcut filter: a question is dropped if it is answered as well without something that it tells.

For each given number the answer is computed again with another number in its place, and without the thing that has it (a body,
a resistor, friction) where there is one. An answer that stays within 5 % means that the question does not depend on it, and can
be answered by somebody who overlooks it.

Source: Sim2Reason (arXiv 2604.11805) drops questions that are solved with an entity ignored; the numbers are our addition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from rlllm.data.procedural.physics.scene import Scene
from rlllm.parsing.formulas import FormulaError

TOLERANCE = 0.05
_OTHER = 1.5
"""What a number is multiplied by."""
_GRID = 24
_HALVINGS = 60


def shortcut(scene: Scene, asked: str, hidden: str | None = None) -> str | None:
    """What the question can be answered without, such as `m_2` or `the number of t`; None where it needs all it tells.

    Args:
        asked: what is sought, or, with `hidden`, what is told of it.
        hidden: the given quantity that is asked instead.
    """
    right = scene.values[hidden or asked]
    for name, other in _variants(scene, hidden):
        try:
            answer = value_of(other, asked) if hidden is None else recovered(other, hidden, asked, scene.values[asked])
        except FormulaError:
            continue  # without it there is no answer at all
        if answer is not None and abs(answer - right) <= TOLERANCE * abs(right):
            return name
    return None


def recovered(scene: Scene, hidden: str, known: str, value: float) -> float | None:
    """The hidden given quantity for which `known` has this value, in SI units; None where there is none, or more than one.

    It is looked for between half the smallest and twice the largest number that the setup draws (angles up to 89 degrees).
    """
    part = next(part for part in scene.setup.given if part.quantity.symbol == hidden)
    factor, positive = part.quantity.factor, [number for number in part.numbers if number > 0]
    low, high = min(positive) / 2 * factor, max(positive) * 2 * factor
    high = min(high, math.radians(89)) if part.quantity.unit == "deg" else high

    form = scene.closed_form(known)
    if form is None:
        return None

    def gap(candidate: float) -> float | None:
        try:
            return form.value({**scene.given, hidden: candidate}) - value
        except FormulaError:
            return None

    roots = list(_roots(gap, low, high, abs(value)))
    return roots[0] if len(roots) == 1 else None


def value_of(scene: Scene, symbol: str) -> float:
    """What is sought, for numbers that a question would not have as well. Raises FormulaError where there is no value."""
    form = scene.closed_form(symbol)
    return scene.state(scene.given["t"])[symbol] if form is None else form.value(scene.given)


def _variants(scene: Scene, hidden: str | None) -> Iterator[tuple[str, Scene]]:
    for part in scene.setup.given:
        symbol = part.quantity.symbol
        if symbol == hidden:
            continue
        number = scene.given[symbol]
        # Of the number 0 nothing is left when it is multiplied; half of the largest is another number for certain.
        other = number * _OTHER or max(part.numbers) / 2 * part.quantity.factor
        yield f"the number of {symbol}", scene.with_given(**{symbol: other})
        if part.absent is not None and number != part.absent:
            yield symbol, scene.with_given(**{symbol: part.absent})


def _roots(gap: Callable[[float], float | None], low: float, high: float, scale: float) -> Iterator[float]:
    """Where a function is 0 or changes its sign without a jump, on a grid of constant ratio."""
    points = [low * (high / low) ** (step / _GRID) for step in range(_GRID + 1)]
    values = [gap(point) for point in points]
    yield from (point for point, value in zip(points, values, strict=True) if value == 0)
    for left, right, at_left, at_right in zip(points, points[1:], values, values[1:], strict=False):
        if not at_left or not at_right or (at_left < 0) == (at_right < 0):
            continue
        middle = _bisected(gap, left, right, at_left)
        at_middle = gap(middle)
        if at_middle is not None and abs(at_middle) <= 1e-9 * max(scale, abs(at_left)):
            yield middle


def _bisected(gap: Callable[[float], float | None], left: float, right: float, at_left: float) -> float:
    """The end of halving an interval at whose ends the signs differ; anywhere in it where the function has no value."""
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        at_middle = gap(middle)
        if at_middle is None:
            return middle
        if (at_middle < 0) == (at_left < 0):
            left = middle
        else:
            right = middle
    return left
