"""Traces of a run with an environment: one of each rollout whose transcript the run has kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.runs import Run, read_jsonl
from rlllm.core.traces import Trace, parse, read_traces
from rlllm.rollouts.environments.base import TRANSCRIPT

_MODEL, _TASK, _TOOLS = "model", "task", "environment"
_FAILED = "{'error':"
"""How the text begins that a model is shown of a tool that raised an exception."""


def traces_in(place: Path) -> list[Trace]:
    """The traces of a file, or of a run's rollouts.

    Raises:
        DataError: there are none, or a line of the file is no trace.
    """
    if place.is_dir():
        found = [*_of_samples(Run(place)), *_of_items(Run(place))]
        if not found:
            raise DataError(
                "the run has no rollouts of several turns",
                given=str(place),
                hint="runs of reason and eval with environment=NAME have them",
            )
        return found
    found = list(read_traces(place))
    if not found:
        raise DataError("the file has no traces", given=str(place))
    return found


def _of_samples(run: Run) -> Iterator[Trace]:
    """Of training: each sampled rollout."""
    seen: dict[str, int] = {}
    for row in run.samples():
        if TRANSCRIPT in row:
            name = f"step{row['step']}-row{row['row']}"
            seen[name] = seen.get(name, -1) + 1
            rewards = {reward: _value(given) for reward, given in row["rewards"].items()}
            yield _trace(
                f"{name}-{seen[name]}", f"row{row['row']}", row[TRANSCRIPT], rewards, row["tokens"], row["answer"]
            )


def _of_items(run: Run) -> Iterator[Trace]:
    """Of an evaluation: every rollout of each problem."""
    for item in read_jsonl(run.path / "items.jsonl"):
        tokens = item.get("tokens") or [0] * len(item["scores"])
        for at, (messages, score) in enumerate(zip(item.get("transcripts") or (), item["scores"], strict=False)):
            name = f"{item['task']}-{item['id'][:12]}"
            yield _trace(f"{name}-{at}", name, messages, {"score": score}, tokens[at], item["answer"])


def _trace(
    trace_id: str,
    task_id: str,
    messages: Sequence[Mapping[str, Any]],
    rewards: Mapping[str, float | None],
    tokens: int | None,
    answer: str | None,
) -> Trace:
    known = {name: float(value) for name, value in rewards.items() if value is not None}
    events, edges = _events(messages, answer)
    return parse(
        {
            "trace_id": trace_id,
            "task_id": task_id,
            "system": "rlllm",
            "topology": "harness",
            "events": events,
            "edges": edges,
            "rewards": known,
            "costs": {
                "tokens": float(tokens or 0),
                "wall_clock_s": 0.0,  # rollouts are decoded in batches, so that one has no time of its own
                "tool_calls": float(sum(event["type"] == "tool_call" for event in events)),
                "messages": float(sum(event["type"] == "message" for event in events)),
            },
            "metrics": {"task_success": float(next(iter(known.values())) >= 1)} if known else {},
        },
        trace_id,
    )


def _events(
    messages: Sequence[Mapping[str, Any]], answer: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The task's message, then a call or a last word for each turn of the model, and the results."""
    events: list[dict[str, Any]] = [{"type": "message", "agent": _TASK, "from": _TASK, "to": _MODEL}]
    edges: list[dict[str, str]] = []
    waiting: list[int] = []
    for message in messages:
        text = str(message.get("content") or "")
        if message.get("role") == "tool":
            error = {"error": text} if text.startswith(_FAILED) else {}
            events.append(
                {"type": "tool_result", "agent": _TOOLS, "tool": message.get("name"), "x": {"text": text, **error}}
            )
            if waiting:
                edges.append({"src": f"e{waiting.pop(0)}", "dst": f"e{len(events) - 1}", "type": "tool_dependency"})
            continue
        calls = [call.get("function", call) for call in message.get("tool_calls") or []]
        for call in calls:
            waiting.append(len(events))
            arguments = call.get("arguments")
            events.append(
                {"type": "tool_call", "agent": _MODEL, "tool": call.get("name"), "x": {"arguments": arguments}}
            )
        if not calls:
            said = {"text": text} | ({"answer": answer} if answer is not None else {})
            events.append({"type": "return", "agent": _MODEL, "from": _MODEL, "to": _TASK, "x": said})
    events = [{"id": f"e{at}", "t": float(at), **event} for at, event in enumerate(events)]
    edges += [{"src": f"e{at}", "dst": f"e{at + 1}", "type": "temporal"} for at in range(len(events) - 1)]
    return events, edges


def _value(given: Any) -> float | None:
    return given.get("value") if isinstance(given, Mapping) else given
