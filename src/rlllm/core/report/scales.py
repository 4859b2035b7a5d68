"""Arithmetic behind the drawings: round tick marks, smoothing, thinning. Numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
"""(step, value)"""


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that enclose `low` to `high`."""
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.10g}") for index in range(first, last + 1)]


def ticks_within(low: float, high: float, about: int = 4) -> list[float]:
    """The whole round numbers inside `low` to `high`; for an axis that ends where its data end."""
    return [mark for mark in ticks(low, high, about) if low <= mark <= high and float(mark).is_integer()]


def smooth(points: Sequence[Point]) -> list[Point]:
    """Running mean over about a tenth of the points, centred; at the ends over the half of the window that exists."""
    half = len(points) // 20 + (len(points) >= 8)
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    line = []
    for index, (step, _) in enumerate(points):
        first, last = max(0, index - half), min(len(points), index + half + 1)
        line.append((step, (sums[last] - sums[first]) / (last - first)))
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
