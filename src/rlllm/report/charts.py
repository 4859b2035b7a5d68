"""Charts as inline SVG: learning curve, scatter with a fitted curve, sparkline, dot and whisker."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.report.axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Point,
    Scale,
    drawing,
    frame,
    linear,
    place,
    smooth,
    step_axis,
    thin,
    ticks,
    value_axis,
)
from rlllm.report.markup import Html, tag
from rlllm.report.wording import change, count, fixed, is_number, labels, number

LANE_WIDTH, LANE_HEIGHT, LANE_PAD = 200, 34, 8


def learning_curve(title: str, note: str, points: Sequence[Point]) -> Html:
    """A figure with its title, the smoothed first and last value, and the smoothed line over the raw points."""
    marks = ticks(*frame([value for _, value in points]))
    inside = [(step, value) for step, value in points if marks[0] <= value <= marks[-1]]
    line = smooth(inside)
    first, last = change(line[0][1], line[-1][1])
    spikes = len(points) - len(inside)
    described = f"{title} over {count(len(points), 'logged step')}: from {first} to {last}"
    caption = tag(
        "figcaption",
        tag("span", title, class_="name"),
        tag("span", tag("span", f"{first} → ", class_="from"), tag("b", last), class_="last"),
        tag("small", f"{note}; {count(spikes, 'spike')} beyond the frame" if spikes else note),
    )
    return tag("figure", caption, _plot(described, marks, inside, line), class_="curve")


def _plot(described: str, marks: Sequence[float], points: Sequence[Point], line: Sequence[Point]) -> Html:
    steps = [step for step, _ in points]
    x = linear(min(steps), max(steps), LEFT + 4, WIDTH - RIGHT - 4)
    y = linear(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    raw = [tag("circle", cx=place(x(step)), cy=place(y(value)), r=1.6, class_="raw") for step, value in thin(points)]
    return drawing(described, value_axis(marks, y), step_axis(steps, x), raw, _line(line, x, y))


def _line(points: Sequence[Point], x: Scale, y: Scale) -> Html:
    places = [f"{place(x(step))},{place(y(value))}" for step, value in thin(points)]
    end_x, end_y = places[-1].split(",")
    dot = tag("circle", cx=end_x, cy=end_y, r=3, class_="dot")
    return tag("g", tag("polyline", points=" ".join(places), class_="line"), dot)


def relation(title: str, note: str, points: Sequence[Point], fitted: Scale, across: str) -> Html:
    """A figure of one number against another, with a fitted curve through it.

    Args:
        points: (number across, number up) of each observation, in any order.
        fitted: number across -> number up.
        across: name of the number across.
    """
    places = [at for at, _ in points]
    marks = ticks(*frame([value for _, value in points]))
    edges = ticks(min(places), max(places), 3)
    x, y = linear(edges[0], edges[-1], LEFT + 4, WIDTH - RIGHT - 4), linear(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    inside = [(at, value) for at, value in points if marks[0] <= value <= marks[-1]]
    steps = [min(places) + (max(places) - min(places)) * part / 40 for part in range(41)]
    curve = [(at, fitted(at)) for at in steps if marks[0] <= fitted(at) <= marks[-1]]
    image = drawing(
        f"{title}: {count(len(points), 'observation')} and a fitted curve",
        value_axis(marks, y),
        tag("text", across, x=0, y=HEIGHT - 6, class_="tick"),
        [
            tag("text", label, x=place(x(edge)), y=HEIGHT - 6, class_="tick middle")
            for edge, label in zip(edges[1:-1], labels(edges)[1:-1], strict=True)
        ],
        [tag("circle", cx=place(x(at)), cy=place(y(value)), r=1.6, class_="raw") for at, value in thin(inside)],
        _line(curve, x, y) if curve else None,
    )
    caption = tag("figcaption", tag("span", title, class_="name"), tag("small", note))
    return tag("figure", caption, image, class_="curve")


def sparkline(title: str, points: Sequence[Point]) -> Html:
    """A small line without axes, for a table cell."""
    values = [value for _, value in points]
    x = linear(points[0][0], points[-1][0], 3, 117)
    y = linear(min(values), max(values), 23, 5) if max(values) > min(values) else (lambda _: 14.0)
    described = f"{title}: from {number(values[0])} to {number(values[-1])}"
    return drawing(described, _line(smooth(points), x, y), width=120, height=28, kind="spark")


def whiskers(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, low: float, high: float) -> Html:
    """Before (hollow) over after (filled), each a dot on its interval, on an axis from `low` to `high`."""
    x = linear(low, high, LANE_PAD, LANE_WIDTH - LANE_PAD)
    lanes = [(before, 11.0, "before"), (after, 23.0, "after")]
    shown = [(value, height, kind) for value, height, kind in lanes if value and is_number(value.get("estimate"))]
    if len(shown) == 1:
        shown = [(shown[0][0], LANE_HEIGHT / 2, shown[0][2])]
    words = ", ".join(f"{kind} {fixed(value['estimate'])}" for value, _, kind in shown)
    return drawing(
        f"{words}, on a scale from {number(low)} to {number(high)}",
        [
            tag("line", x1=place(x(mark)), x2=place(x(mark)), y1=2, y2=LANE_HEIGHT - 2, class_="grid")
            for mark in (low, (low + high) / 2, high)
        ],
        [_whisker(value, height, kind, x, low, high) for value, height, kind in shown],
        width=LANE_WIDTH,
        height=LANE_HEIGHT,
        kind="whiskers",
    )


def whisker_axis(low: float, high: float) -> Html:
    """Labels of the axis that `whiskers` draws on."""
    places = (LANE_PAD, LANE_WIDTH / 2, LANE_WIDTH - LANE_PAD)
    names = labels([low, (low + high) / 2, high])
    ticks = [tag("text", name, x=place(at), y=11, class_="tick middle") for name, at in zip(names, places, strict=True)]
    return tag("svg", ticks, viewBox=f"0 0 {LANE_WIDTH} 14", class_="whiskers axis", aria_hidden="true")


def _whisker(value: Mapping[str, Any], height: float, kind: str, x: Scale, low: float, high: float) -> Html:
    start, end = (
        value[name] if is_number(value.get(name)) and math.isfinite(value[name]) else edge
        for name, edge in (("low", low), ("high", high))
    )
    bar = tag(
        "line", x1=place(x(start)), x2=place(x(end)), y1=place(height), y2=place(height), class_=f"whisker {kind}"
    )
    bounded = any(is_number(value.get(name)) for name in ("low", "high"))
    return tag(
        "g",
        bar if bounded else None,
        tag("circle", cx=place(x(value["estimate"])), cy=place(height), r=4, class_=f"mark {kind}"),
    )
