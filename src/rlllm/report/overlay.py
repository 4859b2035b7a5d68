"""Lines of several runs in one chart: learning curves over steps, and pass@k over the number of samples.

A line carries its run's letter at its end and a dash pattern of its own; letters that would collide are moved apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.report.axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
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
from rlllm.report.curves import CURVES, finite_points
from rlllm.report.markup import Html, tag
from rlllm.report.series import Series
from rlllm.report.wording import fixed, is_number, number

_Line = tuple[str, str, Sequence[Point]]
"""Letter, class in the style sheet, and points."""
_END = WIDTH - 20
"""Right edge of the lines; behind it stand the letters."""
_TALL = 244
"""Height of pass@k, which stands beside the maps of problems."""
_CURVES = (
    ("curve", "pass@k", "problems solved within k samples"),
    ("curve_all_pass", "pass^k", "problems solved by all of k samples"),
)
"""Key in results.json, heading and note."""
_APART = 11.0
"""Least distance of two letters."""


def shared_curves(series: Sequence[Series], most: int = 12) -> Html | None:
    """Every well-known metric that at least two of the runs have logged, as smoothed lines; None where there is none."""
    logged = [(member, member.run.metrics()) for member in series]
    figures: list[Html] = []
    for name in (name for curve in CURVES for name in (curve, f"eval_{curve}")):
        by_run = [(member, finite_points(rows, name)) for member, rows in logged]
        lines = [(member.letter, member.kind, smooth(points)) for member, points in by_run if points]
        moved = len({value for _, _, points in lines for _, value in points}) > 1
        if len(lines) > 1 and moved and len(figures) < most:
            title, note = CURVES[name.removeprefix("eval_")]
            figures.append(_curve(f"{title}, held out" if name.startswith("eval_") else title, note, lines))
    return tag("div", figures, class_="curves") if figures else None


def pass_curves(results: Mapping[str, Any]) -> Html | None:
    """The pass@k curve of every task of one evaluation; None where none has one."""
    figures = [
        pass_at_k(name, [("", "s1", details.get(curve) or [])], heading=f"{name}, {heading}", note=note)
        for name, details in (results.get("tasks") or {}).items()
        for curve, heading, note in _CURVES
    ]
    return tag("div", figures, class_="curves") if any(figures) else None


def pass_at_k(
    title: str,
    lines: Sequence[tuple[str, str, Sequence[Mapping[str, Any]]]],
    *,
    heading: str = "pass@k",
    note: str = "problems solved within k samples",
) -> Html | None:
    """Unbiased pass@k with its 95 % interval as a band, over k on a logarithmic axis; None where no curve has two points.

    Args:
        title: what was measured.
        lines: letter, class and `[{"k", "estimate", "low", "high"}]` of each run.
        heading, note: of the figure.
    """
    curves = [(letter, kind, _known(curve)) for letter, kind, curve in lines]
    curves = [line for line in curves if len(line[2]) > 1]
    if not curves:
        return None
    every = [entry for *_, curve in curves for entry in curve]
    marks = ticks(min(low for _, _, low, _ in every), min(1.0, max(high for *_, high in every)))
    most = max(k for k, *_ in every)
    x = linear(0.0, math.log2(most), LEFT + 4, _END)
    y = linear(marks[0], marks[-1], _TALL - BOTTOM, TOP)
    placed = [
        (letter, kind, [(x(math.log2(k)), y(estimate)) for k, estimate, _, _ in curve])
        for letter, kind, curve in curves
    ]
    words = "; ".join(
        f"{letter} {fixed(curve[0][1])} at k = {curve[0][0]} to {fixed(curve[-1][1])} at k = {curve[-1][0]}".strip()
        for letter, _, curve in curves
    )
    image = drawing(
        f"{heading if title in heading else f'{title}, {heading}'}: {words}",
        value_axis(marks, y, _END),
        tag("text", "k", x=0, y=_TALL - 6, class_="tick"),
        [tag("text", str(k), x=place(x(math.log2(k))), y=_TALL - 6, class_="tick middle") for k in _powers(most)],
        [_band(kind, curve, x, y) for _, kind, curve in curves],
        [_placed(kind, points, dots=True) for _, kind, points in placed],
        _letters(placed, _TALL),
        height=_TALL,
    )
    return _figure(heading, f"{note}, with 95 % interval", image)


def _curve(title: str, note: str, lines: Sequence[_Line]) -> Html:
    values = [value for *_, points in lines for _, value in points]
    steps = [step for *_, points in lines for step, _ in points]
    marks = ticks(*frame(values))
    x = linear(min(steps), max(steps), LEFT + 4, _END)
    y = linear(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    inside = [(letter, kind, [p for p in points if marks[0] <= p[1] <= marks[-1]]) for letter, kind, points in lines]
    placed = [(letter, kind, [(x(step), y(value)) for step, value in thin(points)]) for letter, kind, points in inside]
    words = "; ".join(f"{letter} from {number(line[0][1])} to {number(line[-1][1])}" for letter, _, line in lines)
    image = drawing(
        f"{title} over steps: {words}",
        value_axis(marks, y, _END),
        step_axis(steps, x, _END),
        [_placed(kind, points) for _, kind, points in placed],
        _letters(placed),
    )
    return _figure(title, note, image)


def _figure(title: str, note: str, image: Html) -> Html:
    caption = tag("figcaption", tag("span", title, class_="name"), tag("small", note))
    return tag("figure", caption, image, class_="curve")


def _placed(kind: str, points: Sequence[Point], *, dots: bool = False) -> Html | None:
    """A line through places on the drawing; a dot where it is one point only, or at every point."""
    if not points:
        return None
    line = tag("polyline", points=" ".join(f"{place(x)},{place(y)}" for x, y in points), class_="series")
    marked = points if dots or len(points) == 1 else []
    return tag(
        "g", line, [tag("circle", cx=place(x), cy=place(y), r=2.5, class_="point") for x, y in marked], class_=kind
    )


def _band(kind: str, curve: Sequence[tuple[int, float, float, float]], x: Scale, y: Scale) -> Html:
    upper = [(x(math.log2(k)), y(high)) for k, _, _, high in curve]
    lower = [(x(math.log2(k)), y(low)) for k, _, low, _ in reversed(curve)]
    corners = " ".join(f"{place(across)},{place(up)}" for across, up in [*upper, *lower])
    return tag("polygon", points=corners, class_=f"band {kind}")


def _letters(lines: Sequence[_Line], tall: float = HEIGHT) -> list[Html]:
    """Letters beside the ends of their lines, moved apart where two lines end close together."""
    ends = [(letter, kind, points[-1]) for letter, kind, points in lines if points and letter]
    ends.sort(key=lambda end: end[2][1])
    heights: list[float] = []
    for _, _, (_, y) in ends:
        heights.append(max(y, heights[-1] + _APART) if heights else y)
    lowest = tall - BOTTOM + 4
    for at in reversed(range(len(heights))):
        heights[at] = min(heights[at], lowest)
        lowest = heights[at] - _APART
    return [
        tag("text", letter, x=place(x + 6), y=place(height + 4), class_=f"letter {kind}")
        for (letter, kind, (x, _)), height in zip(ends, heights, strict=True)
    ]


def _known(curve: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, float, float]]:
    """(k, estimate, low, high), an unknown bound at the estimate; entries without numbers left out."""
    points = []
    for entry in curve:
        k, estimate = entry.get("k"), entry.get("estimate")
        if isinstance(k, int) and k > 0 and is_number(estimate) and math.isfinite(estimate):
            low, high = (
                bound if is_number(bound) and math.isfinite(bound) else estimate
                for bound in (entry.get("low"), entry.get("high"))
            )
            points.append((k, float(estimate), float(low), float(high)))
    return sorted(points)


def _powers(most: int) -> list[int]:
    """Powers of two up to `most`, every second or third of them where they are many."""
    every = [2**power for power in range(int(math.log2(most)) + 1)]
    return every[:: 1 + (len(every) - 1) // 8]
