"""Reward families of a trace, R1 to R8 of Zhang 2026 (arXiv 2605.02801), and advantages for the units of credit.

The survey names the families and gives no formulas. These are ours; a family without the fields that it needs has no value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any, Literal

from rlllm.core.config import Section
from rlllm.core.traces import Event, Trace
from rlllm.tools.traces.measures import in_order, measures

Unit = Literal["team", "agent", "role", "orchestrator", "turn", "tool"]
_EPSILON = 1e-8
_VERDICTS = {"right": True, "wrong": False}


class Weights(Section):
    """Weights of the families that are sums."""

    valid_call: float = 1.0
    """R5: of calls without an error."""
    used_result: float = 1.0
    """R5: of results that a later event used (`x.used`)."""
    failed_call: float = 1.0
    """R5: taken off for each call with an error."""
    parallel: float = 0.1
    """R7: of the parallelism efficiency."""
    finish: float = 0.1
    """R7: of the share of spawned agents that returned."""
    team: float = 0.5
    """R8: of the team's success; the rest is the agents' own."""


@dataclass(frozen=True)
class Rewards:
    """Values of the families that a trace has the fields for, and those of each agent and role."""

    families: Mapping[str, float]
    agents: Mapping[str, float]
    """R2 of each agent."""
    roles: Mapping[str, float]
    """R3 of each role."""


def rewards(trace: Trace, weights: Weights) -> Rewards:
    """The families of a trace.

    - R1 team: success, from `metrics.task_success`, else from the reward R1_team.
    - R2 individual: mean `x.quality` of an agent's returns; the family is the mean over agents.
    - R3 role: mean `x.reward` of a role's events; the family is the mean over roles.
    - R4 process: mean `x.score` that a checker gave to events.
    - R5 tool: per call, valid_call for one without `x.error`, used_result for one whose result has `x.used`, minus failed_call.
    - R6 debate: +1 for each `x.verdict` (`right` or `wrong`) that agrees with `x.right`, else -1; 0 where it cannot be read.
    - R7 orchestration: success + parallel * parallelism efficiency + finish * share of agents that returned.
    - R8 hybrid: team * R1 + (1 - team) * R2.
    """
    events = in_order(trace)
    agents = _means((event.agent, event.x.get("quality")) for event in events if event.type == "return")
    roles = _means((event.role or "", event.x.get("reward")) for event in events)
    success = trace.metrics.get("task_success", trace.rewards.get("R1_team"))
    found: dict[str, float | None] = {
        "R1_team": success,
        "R2_individual": _mean(agents.values()),
        "R3_role": _mean(roles.values()),
        "R4_process": _mean(event.x.get("score") for event in events),
        "R5_tool": _mean(_call_worth(event, weights) for event in events if event.type == "tool_result"),
        "R6_debate": _mean(_verdict_worth(event) for event in events if "verdict" in event.x),
        "R7_orchestration": _orchestration(trace, success, weights),
    }
    team, own = found["R1_team"], found["R2_individual"]
    found["R8_hybrid"] = None if team is None or own is None else weights.team * team + (1 - weights.team) * own
    return Rewards({name: value for name, value in found.items() if value is not None}, agents, roles)


def advantages(traces: Sequence[Trace], unit: Unit, weights: Weights) -> list[dict[str, Any]]:
    """What each unit of credit earned over the other runs of its task: (value - mean) / population deviation in its group.

    - `team`: R1 of the runs of a task.
    - `agent`, `role`: R2 or R3 among the same agent's or role's in the runs of a task (agent-wise normalisation, Dr. MAS).
    - `orchestrator`: R7, which reaches decisions of the orchestrator alone: `events` names them.
    - `turn`: the sum of `x.reward` from an event on, among events of the same place in the runs of a task.
    - `tool`: R5 of each call.

    Returns:
        Rows `trace_id`, `task_id`, `of` (agent, role, or id of the event), `value`, `advantage`, which is 0 where all values
        of a group are equal.
    """
    rows = [row for trace in traces for row in _VALUES[unit](trace, weights)]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task_id"], row.pop("group")), []).append(row)
    for group in groups.values():
        values = [row["value"] for row in group]
        mean, deviation = fmean(values), pstdev(values)
        for row in group:
            row["advantage"] = (row["value"] - mean) / (deviation + _EPSILON) if deviation else 0.0
    return rows


def _of_team(trace: Trace, weights: Weights) -> list[dict[str, Any]]:
    value = rewards(trace, weights).families.get("R1_team")
    return [] if value is None else [_row(trace, "team", value)]


def _of_agents(trace: Trace, weights: Weights) -> list[dict[str, Any]]:
    return [_row(trace, agent, value, agent) for agent, value in rewards(trace, weights).agents.items()]


def _of_roles(trace: Trace, weights: Weights) -> list[dict[str, Any]]:
    return [_row(trace, role, value, role) for role, value in rewards(trace, weights).roles.items()]


def _of_orchestrator(trace: Trace, weights: Weights) -> list[dict[str, Any]]:
    value = rewards(trace, weights).families.get("R7_orchestration")
    decisions = [event.id for event in in_order(trace) if event.type == "orchestrator_decision"]
    return [] if value is None or not decisions else [_row(trace, "orchestrator", value, events=decisions)]


def _of_turns(trace: Trace, weights: Weights) -> list[dict[str, Any]]:
    paid = [event for event in in_order(trace) if "reward" in event.x]
    rows, to_go = [], 0.0
    for at, event in reversed(list(enumerate(paid))):
        to_go += float(event.x["reward"])
        rows.append(_row(trace, event.id, to_go, f"turn {at}"))
    return rows[::-1]


def _of_tools(trace: Trace, weights: Weights) -> list[dict[str, Any]]:
    results = [event for event in in_order(trace) if event.type == "tool_result"]
    return [_row(trace, event.id, _call_worth(event, weights)) for event in results]


_VALUES: Mapping[Unit, Callable[[Trace, Weights], list[dict[str, Any]]]] = {
    "team": _of_team,
    "agent": _of_agents,
    "role": _of_roles,
    "orchestrator": _of_orchestrator,
    "turn": _of_turns,
    "tool": _of_tools,
}


def _row(trace: Trace, of: str, value: float, group: str = "", **more: Any) -> dict[str, Any]:
    return {"trace_id": trace.trace_id, "task_id": trace.task_id, "of": of, "value": value, "group": group, **more}


def _call_worth(result: Event, weights: Weights) -> float:
    if result.x.get("error"):
        return -weights.failed_call
    return weights.valid_call + weights.used_result * bool(result.x.get("used"))


def _verdict_worth(event: Event) -> float:
    said, right = _VERDICTS.get(str(event.x["verdict"]).lower()), event.x.get("right")
    return 0.0 if said is None or right is None else 1.0 if said == bool(right) else -1.0


def _orchestration(trace: Trace, success: float | None, weights: Weights) -> float | None:
    measured = measures(trace)
    if success is None or "spawned" not in measured:
        return None
    parallel = weights.parallel * measured.get("parallelism_efficiency", 0.0)
    return success + parallel + weights.finish * measured["returned_share"]


def _means(pairs: Iterable[tuple[str, Any]]) -> dict[str, float]:
    """Name -> mean of its numbers."""
    values: dict[str, list[float]] = {}
    for name, value in pairs:
        if value is not None:
            values.setdefault(name, []).append(float(value))
    return {name: fmean(own) for name, own in values.items()}


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None
