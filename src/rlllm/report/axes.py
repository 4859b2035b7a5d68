"""Frames of the drawings: their size, and the axes with round marks. Inline SVG; the style sheet colours it by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlllm.report.markup import Child, Html, tag
from rlllm.report.scales import ticks_within
from rlllm.report.wording import labels, number

Scale = Callable[[float], float]
WIDTH, HEIGHT = 320, 168
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 26


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Map low..high to start..end."""
    factor = (end - start) / (high - low) if high > low else 0.0
    return lambda value: start + (value - low) * factor


def value_axis(marks: Sequence[float], y: Scale, right: float = WIDTH - RIGHT) -> list[Html]:
    """A line and a label for each mark, from the left edge to `right`."""
    drawn = []
    for mark, label in zip(marks, labels(marks), strict=True):
        height = place(y(mark))
        drawn.append(tag("line", x1=LEFT, x2=right, y1=height, y2=height, class_="grid"))
        drawn.append(tag("text", label, x=LEFT - 6, y=place(y(mark) + 3.6), class_="tick end"))
    return drawn


def step_axis(steps: Sequence[float], x: Scale, right: float = WIDTH - RIGHT) -> list[Html]:
    """Whole steps below the drawing."""
    low, high = min(steps), max(steps)
    marks = ticks_within(low, high) or [high]
    drawn = [tag("text", "step", x=0, y=HEIGHT - 6, class_="tick")]
    for mark in marks:
        centre = x(mark) if high > low else (LEFT + right) / 2
        side = "end" if centre > right - 20 else "middle"
        at = right if side == "end" else centre
        drawn.append(tag("text", number(mark), x=place(at), y=HEIGHT - 6, class_=f"tick {side}"))
    return drawn


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
