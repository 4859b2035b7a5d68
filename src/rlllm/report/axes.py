"""Axes of the charts: round tick marks, smoothing and thinning of points, and the frame as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rlllm.report.markup import Child, Html, tag
from rlllm.report.wording import labels, number

Point = tuple[float, float]
"""(step, value)"""
Scale = Callable[[float], float]
WIDTH, HEIGHT = 320, 168
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 26


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Map low..high to start..end."""
    factor = (end - start) / (high - low) if high > low else 0.0
    return lambda value: start + (value - low) * factor


def value_axis(marks: Sequence[float], y: Scale, right: float = WIDTH - RIGHT) -> list[Html]:
    """A line and a label for each mark, from the left edge to `right`."""
    elements = []
    for mark, label in zip(marks, labels(marks), strict=True):
        height = place(y(mark))
        elements.append(tag("line", x1=LEFT, x2=right, y1=height, y2=height, class_="grid"))
        elements.append(tag("text", label, x=LEFT - 6, y=place(y(mark) + 3.6), class_="tick end"))
    return elements


def step_axis(steps: Sequence[float], x: Scale, right: float = WIDTH - RIGHT) -> list[Html]:
    """Whole steps below the drawing."""
    low, high = min(steps), max(steps)
    marks = ticks_within(low, high) or [high]
    elements = [tag("text", "step", x=0, y=HEIGHT - 6, class_="tick")]
    for mark in marks:
        centre = x(mark) if high > low else (LEFT + right) / 2
        side = "end" if centre > right - 20 else "middle"
        at = right if side == "end" else centre
        elements.append(tag("text", number(mark), x=place(at), y=HEIGHT - 6, class_=f"tick {side}"))
    return elements


def place(coordinate: float) -> str:
    """A coordinate, short."""
    return f"{coordinate:.1f}".removesuffix(".0")


def drawing(
    described: str, *children: Child, width: float = WIDTH, height: float = HEIGHT, kind: str | None = None
) -> Html:
    """An image that a screen reader reads out as `described`, which is also its tooltip."""
    return tag(
        "svg",
        tag("title", described),
        *children,
        viewBox=f"0 0 {place(width)} {place(height)}",
        role="img",
        aria_label=described,
        class_=kind,
    )


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that enclose `low` to `high`."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def ticks_within(low: float, high: float, about: int = 4) -> list[float]:
    """The whole round numbers inside `low` to `high`; for an axis that ends where its data end."""
    return [mark for mark in ticks(low, high, about) if low <= mark <= high and float(mark).is_integer()]


def smooth(points: Sequence[Point]) -> list[Point]:
    """A straight line fitted to the tenth of the points around each point, so that steep beginnings are not flattened.

    It stays within the range of the points. Fewer than 8 points stay as they are.
    """
    if len(points) < 8:
        return list(points)
    values = [value for _, value in points]
    lowest, highest = min(values), max(values)
    width = len(points) // 20 * 2 + 3
    spread = width * (width * width - 1) / 12
    sums = [(0.0, 0.0)]
    for index, (_, value) in enumerate(points):
        sums.append((sums[-1][0] + value, sums[-1][1] + value * index))
    line = []
    for index, (step, _) in enumerate(points):
        first = min(max(0, index - width // 2), len(points) - width)
        middle, mean = first + (width - 1) / 2, (sums[first + width][0] - sums[first][0]) / width
        slope = (sums[first + width][1] - sums[first][1] - middle * width * mean) / spread
        line.append((step, min(highest, max(lowest, mean + slope * (index - middle)))))
    return line


def thin(points: Sequence[Point], limit: int = 300) -> list[Point]:
    """At most `limit` points, evenly spaced over the sequence, the first and the last among them."""
    if len(points) <= limit:
        return list(points)
    return [points[round(index * (len(points) - 1) / (limit - 1))] for index in range(limit)]


def frame(values: Sequence[float]) -> tuple[float, float]:
    """The range to draw: all values, unless single spikes would flatten the rest (then the middle 96 %, widened)."""
    ordered = sorted(values)
    cut = len(ordered) // 50
    low, high = ordered[cut], ordered[len(ordered) - 1 - cut]
    spread = high - low
    if cut and spread > 0 and ordered[-1] - ordered[0] > 6 * spread:
        return max(ordered[0], low - 0.25 * spread), min(ordered[-1], high + 0.25 * spread)
    return ordered[0], ordered[-1]


def ends(points: Sequence[Point]) -> tuple[float, float]:
    """Mean value of the first and of the last tenth of the points."""
    share = max(1, len(points) // 10)
    first, last = [value for _, value in points[:share]], [value for _, value in points[-share:]]
    return math.fsum(first) / share, math.fsum(last) / share
