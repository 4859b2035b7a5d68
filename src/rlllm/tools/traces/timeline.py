"""A trace as a timeline: rows for a terminal, and a page with a lane for each agent."""

from __future__ import annotations

import json
from typing import Any

from rlllm.core.traces import Event, Trace
from rlllm.report.layout import Part, page
from rlllm.report.markup import Html, join, tag
from rlllm.tools.traces.measures import in_order, measures

_STEP, _LANE, _LEFT = 96, 56, 130
"""Pixels between events and between lanes, and beside the names of the lanes."""
_LONGEST = 60


def rows(trace: Trace) -> list[tuple[str, str, str, str]]:
    """Time, agent, what it did, and the rest of the event in short."""
    return [(f"{event.t:g}", event.agent, _did(event), _detail(event)) for event in in_order(trace)]


def html(traces: list[Trace]) -> str:
    """A page with the timeline, measures and events of each trace."""
    header = tag("header", tag("h1", "Traces"), tag("p", f"{len(traces)} shown"))
    parts: list[Part] = [(f"trace-{at}", trace.trace_id, None) for at, trace in enumerate(traces)]
    sections = [_section(name, trace) for (name, _, _), trace in zip(parts, traces, strict=True)]
    return page("Traces", header, parts, sections)


def _section(name: str, trace: Trace) -> Html:
    values = {**trace.rewards, **trace.metrics, **measures(trace)}
    numbers = ", ".join(f"{key} {value:.3g}" for key, value in values.items())
    table = [tag("tr", [tag("td", cell) for cell in row]) for row in rows(trace)]
    head = tag("tr", [tag("th", text) for text in ("t", "agent", "did", "what")])
    return tag(
        "section",
        tag("h2", trace.trace_id),
        tag("p", numbers),
        tag("div", _drawing(trace), class_="scroll"),
        tag("div", tag("table", head, table), class_="scroll"),
        id=name,
    )


def _drawing(trace: Trace) -> Html:
    """An SVG with a lane for each agent, a dot for each event, and a line for each edge that crosses lanes."""
    events = in_order(trace)
    agents = list(dict.fromkeys(event.agent for event in events))
    places = {
        event.id: (_LEFT + _STEP * at + 20, _LANE * agents.index(event.agent) + 34) for at, event in enumerate(events)
    }
    width, height = _LEFT + _STEP * len(events) + 40, _LANE * len(agents) + 20
    lanes = [
        join(
            [
                tag(
                    "line",
                    x1=_LEFT,
                    x2=width,
                    y1=_LANE * at + 34,
                    y2=_LANE * at + 34,
                    stroke="currentColor",
                    opacity=0.2,
                ),
                tag("text", agent[:18], x=4, y=_LANE * at + 38, fill="currentColor", font_size=13),
            ]
        )
        for at, agent in enumerate(agents)
    ]
    lines = [
        tag(
            "line",
            x1=places[edge.src][0],
            y1=places[edge.src][1],
            x2=places[edge.dst][0],
            y2=places[edge.dst][1],
            stroke="currentColor",
            opacity=0.5,
        )
        for edge in trace.edges
        if places[edge.src][1] != places[edge.dst][1]
    ]
    dots = [
        join(
            [
                tag("circle", tag("title", f"{_did(event)} {_detail(event)}"), cx=x, cy=y, r=6, fill="currentColor"),
                tag("text", _did(event)[:14], x=x, y=y - 12, fill="currentColor", font_size=11, text_anchor="middle"),
            ]
        )
        for event in events
        for x, y in [places[event.id]]
    ]
    label = f"Timeline of {trace.trace_id}: {len(events)} events of {len(agents)} agents"
    return tag(
        "svg",
        lanes,
        lines,
        dots,
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=label,
    )


def _did(event: Event) -> str:
    sub = event.x.get("sub")
    if event.type == "orchestrator_decision" and sub:
        return str(sub)
    return f"{event.type} {event.tool}" if event.tool else event.type


def _detail(event: Event) -> str:
    """Receiver, the option that was chosen, and the fields of `x`, on one line."""
    x = dict(event.x)
    x.pop("sub", None)
    options, choice = x.pop("options", None), x.pop("choice", None)
    words = [f"to {event.to}"] if event.to else []
    if isinstance(options, list) and isinstance(choice, int) and 0 <= choice < len(options):
        words.append(f"chose {options[choice]} of {', '.join(map(str, options))}")
    words += [f"{key}={_short(value)}" for key, value in x.items()]
    return "  ".join(words)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
