"""Traces: what agents did in one run of a task, as a graph of timed events, in the open schema of orchestration traces.

The schema is that released with Zhang 2026 (arXiv 2605.02801); ours adds one field to events, `x`, which its validator allows.
A trace is one line of a JSON-lines file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlllm.core.errors import DataError

_EventType = Literal[
    "orchestrator_decision",
    "spawn",
    "despawn",
    "message",
    "tool_call",
    "tool_result",
    "return",
    "aggregate",
    "human_intervention",
    "safety_event",
]
_EdgeType = Literal["temporal", "causal", "spawn", "message", "tool_dependency", "return", "aggregate", "safety_flow"]
_Topology = Literal[
    "centralized", "planner_executor_critic", "debate", "swarm", "hierarchical", "harness", "mixed", "unknown"
]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True, strict=True
    )


class Event(_Part):
    """Something that an agent did. Further fields are allowed and kept."""

    model_config = ConfigDict(
        extra="allow", frozen=True, populate_by_name=True, use_attribute_docstrings=True, strict=True
    )

    id: str
    t: _Cost
    """When, in a unit of the run's own; events of one time are in the order of the list."""
    type: _EventType
    agent: str
    role: str | None = None
    sender: str | None = Field(None, alias="from")
    to: str | None = None
    tool: str | None = None
    content_ref: str | None = None
    """A pointer to the text, a hash of it, or the text."""
    trusted: bool | None = None
    x: dict[str, Any] = Field(default_factory=dict)
    """Our extension: what a decision chose among (`sub`, `options`, `choice`), and what is known of the event (`steps`,
    `quality`, `error`, `used`, `verdict`, `right`, `score`)."""


class Edge(_Part):
    """Which event another one follows from."""

    src: str
    dst: str
    type: _EdgeType


class Costs(_Part):
    """What a run took; further numbers are allowed."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, _Cost]

    tokens: _Cost
    wall_clock_s: _Cost
    tool_calls: _Cost = 0
    messages: _Cost = 0


class Trace(_Part):
    """One run of one task."""

    trace_id: str
    task_id: str
    events: list[Event]
    edges: list[Edge]
    rewards: dict[str, _Number]
    costs: Costs
    system: str | None = None
    topology: _Topology | None = None
    metrics: dict[str, _Number] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _connected(self) -> Trace:
        """Ids are unique, and edges join events that exist."""
        counts = Counter(event.id for event in self.events)
        for at, event in enumerate(self.events):
            if counts[event.id] > 1:
                raise ValueError(f"events.{at}.id: {event.id!r} is the id of {counts[event.id]} events")
        for at, edge in enumerate(self.edges):
            for end in ("src", "dst"):
                if getattr(edge, end) not in counts:
                    raise ValueError(f"edges.{at}.{end}: no event has the id {getattr(edge, end)!r}")
        return self

    def to_json(self) -> dict[str, Any]:
        """The object of a line of `traces.jsonl`; with the fields that were given."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def parse(value: Any, place: str) -> Trace:
    """A trace from a JSON object.

    Raises:
        DataError: it does not fit the schema; every fault with the path to it.
    """
    try:
        return Trace.model_validate(value)
    except ValidationError as error:
        faults = [_fault(problem) for problem in error.errors()]
        more = f"\n... and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise DataError(
            f"{place} is no trace:\n" + "\n".join(f"  {fault}" for fault in faults[:_MOST_FAULTS]) + more,
            hint="the schema is in docs/guides/traces.md",
        ) from error


_MOST_FAULTS = 8


def _fault(problem: Any) -> str:
    place = ".".join(map(str, problem["loc"]))
    what = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {what[:1].lower()}{what[1:]}" if place else what


def read_traces(path: Path) -> Iterator[Trace]:
    """The traces of a JSON-lines file.

    Raises:
        DataError: the file does not exist, or a line is no trace.
    """
    for place, value in lines(path):
        yield parse(value, place)


def lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Place in words and content of each line that is not empty.

    Raises:
        DataError: the file does not exist, or a line is no JSON.
    """
    if not path.is_file():
        raise DataError("no such file of traces", given=str(path))
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                place = f"line {number} of {path}"
                try:
                    yield place, json.loads(line)
                except ValueError as error:
                    raise DataError(f"{place} is no JSON: {error}", given=line[:80].rstrip()) from error
