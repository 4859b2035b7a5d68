"""Evaluations during training: each measure over the steps, with the interval of each evaluation as a band."""

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
    Scale,
    drawing,
    linear,
    place,
    step_axis,
    ticks,
    value_axis,
)
from rlllm.report.markup import Html, join, tag
from rlllm.report.wording import change, count, is_number

_Seen = tuple[float, float, float, float]
"""Step, estimate, and the ends of the interval; an unknown end is the estimate."""


def evaluation_curves(evaluations: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Html | None:
    """A figure for each measure, and what was decided by the first; None where there was one evaluation at most."""
    by_measure: dict[str, list[_Seen]] = {}
    for row in evaluations:
        for measure in row.get("measures") or ():
            seen = _seen(row.get("step"), measure.get("value") or {})
            if seen is not None:
                by_measure.setdefault(str(measure.get("name")), []).append(seen)
    decided = results.get("evaluations") or {}
    rows = next((row["rows"] for row in evaluations if isinstance(row.get("rows"), int)), None)
    kept = decided.get("kept")
    figures = [
        _figure(name, points, rows, kept if number == 0 else None)
        for number, (name, points) in enumerate(by_measure.items())
        if len(points) > 1
    ]
    if not figures:
        return None
    text = decided.get("text")
    words = tag("p", f"{text[:1].upper()}{text[1:]}.", class_="note") if text else None
    return join([words, tag("div", figures, class_="curves")])


def _seen(step: Any, value: Mapping[str, Any]) -> _Seen | None:
    estimate = value.get("estimate")
    if not is_number(step) or not is_number(estimate) or not math.isfinite(estimate):
        return None
    low, high = (
        float(end) if is_number(end) and math.isfinite(end) else float(estimate)
        for end in (value.get("low"), value.get("high"))
    )
    return float(step), float(estimate), low, high


def _figure(name: str, points: Sequence[_Seen], rows: int | None, kept: int | None) -> Html:
    first, last = change(points[0][1], points[-1][1])
    of_rows = f"{count(rows, 'held-out row')}, " if rows else ""
    best = f"; ring: step {kept}, which is kept" if kept is not None else ""
    caption = tag(
        "figcaption",
        tag("span", name, class_="name"),
        tag("span", tag("span", f"{first} → ", class_="from"), tag("b", last), class_="last"),
        tag("small", f"{of_rows}with the 95 % interval of each evaluation by itself{best}"),
    )
    return tag("figure", caption, _plot(name, points, kept), class_="curve s1")


def _plot(name: str, points: Sequence[_Seen], kept: int | None) -> Html:
    steps = [step for step, *_ in points]
    marks = ticks(min(low for *_, low, _ in points), max(high for *_, high in points))
    x = linear(min(steps), max(steps), LEFT + 4, WIDTH - RIGHT - 4)
    y = linear(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    described = f"{name} in {count(len(points), 'evaluation')}: " + ", ".join(
        f"step {step:g} {estimate:.3g}" for step, estimate, *_ in points
    )
    line = " ".join(f"{place(x(step))},{place(y(estimate))}" for step, estimate, *_ in points)
    return drawing(
        described,
        value_axis(marks, y),
        step_axis(steps, x),
        _band(points, x, y),
        tag("polyline", points=line, class_="series"),
        [tag("circle", cx=place(x(step)), cy=place(y(value)), r=2.5, class_="point") for step, value, *_ in points],
        [
            tag("circle", cx=place(x(step)), cy=place(y(value)), r=5.5, class_="series hollow")
            for step, value, *_ in points
            if step == kept
        ],
    )


def _band(points: Sequence[_Seen], x: Scale, y: Scale) -> Html:
    upper = [(x(step), y(high)) for step, _, _, high in points]
    lower = [(x(step), y(low)) for step, _, low, _ in reversed(points)]
    corners = " ".join(f"{place(across)},{place(up)}" for across, up in [*upper, *lower])
    return tag("polygon", points=corners, class_="band")
