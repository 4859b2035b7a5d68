"""Measures of a trace: steps and their critical path, parallelism, and which agents and messages were of use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlllm.core.traces import Event, Trace

_NO_STEP = ("spawn", "despawn")
"""Types of events that are no work of the agent."""
_LEADS = ("orchestrator_decision", "spawn", "tool_call")
"""Types of events by which the agent shows that others act for it."""


def measures(trace: Trace) -> dict[str, float]:
    """Numbers by name; what a trace has no events for is left out.

    - `total_steps`, `critical_steps`: see `steps`. `speedup` is their ratio, `parallelism_efficiency` 1 minus its inverse.
    - `spawned`, `returned_share`: agents that were spawned, and the share of them that returned.
    - `useful_agents_share`: agents of which an event leads to the last one along the edges, over all agents.
    - `repeated_messages_share`: messages whose content was sent before between the same two agents.
    - `tool_errors_share`: results of tools that say that the call failed (`x.error`).
    """
    events = in_order(trace)
    total, critical = steps(events)
    found = {"events": float(len(events)), "total_steps": total, "critical_steps": critical}
    if critical:
        found |= {"speedup": total / critical, "parallelism_efficiency": 1 - critical / total}
    if spawned := {event.to for event in events if event.type == "spawn"}:
        returned = {event.agent for event in events if event.type == "return"}
        found |= {"spawned": float(len(spawned)), "returned_share": len(spawned & returned) / len(spawned)}
    agents = {event.agent for event in events}
    if trace.edges and agents:
        found["useful_agents_share"] = len(_useful(trace, events)) / len(agents)
    sent = Counter((event.sender, event.to, event.content_ref) for event in events if event.type == "message")
    if sent:
        found["repeated_messages_share"] = 1 - len(sent) / sent.total()
    if results := [event for event in events if event.type == "tool_result"]:
        found["tool_errors_share"] = sum(bool(event.x.get("error")) for event in results) / len(results)
    return found


def in_order(trace: Trace) -> list[Event]:
    """The events by time; those of one time as they are listed."""
    return sorted(trace.events, key=lambda event: event.t)


def steps(events: Sequence[Event]) -> tuple[float, float]:
    """Steps in all, and critical steps: those that nothing else could be done beside (PARL, of Kimi K2.5).

    The main agent is the first that decides, spawns or calls a tool, else that of the first event. Each of its events is a
    step, spawning and despawning aside. Between two of them the other agents work side by side, so that the one with the most
    steps counts. An agent's steps are those that its `return` says (`x.steps`), else its events.
    """
    if not events:
        return 0.0, 0.0
    main = next((event for event in events if event.type in _LEADS), events[0]).agent
    total = critical = 0.0
    beside: dict[str, float] = {}
    for event in events:
        if event.type in _NO_STEP:
            continue
        if event.agent != main:
            said = event.x.get("steps") if event.type == "return" else None
            before = beside.get(event.agent, 0.0)
            beside[event.agent] = float(said) if said is not None else before + 1
            continue
        total, critical = total + sum(beside.values()) + 1, critical + max(beside.values(), default=0.0) + 1
        beside = {}
    return total + sum(beside.values()), critical + max(beside.values(), default=0.0)


def _useful(trace: Trace, events: Sequence[Event]) -> set[str]:
    """Agents with an event from which the last event can be reached along the edges."""
    before: dict[str, list[str]] = {}
    for edge in trace.edges:
        before.setdefault(edge.dst, []).append(edge.src)
    reached, waiting = {events[-1].id}, [events[-1].id]
    while waiting:
        for source in before.get(waiting.pop(), ()):
            if source not in reached:
                reached.add(source)
                waiting.append(source)
    return {event.agent for event in events if event.id in reached}
