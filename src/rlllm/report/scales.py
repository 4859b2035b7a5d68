"""Arithmetic behind the drawings: round tick marks, smoothing, thinning. Numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
"""(step, value)"""


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
