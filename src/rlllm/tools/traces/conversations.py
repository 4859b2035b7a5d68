"""Conversations with tool calls as events of a trace, and back: each event keeps the message that it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.core.traces import Trace

MODEL, TASK, TOOLS = "model", "task", "environment"
_FAILED = "{'error':"
"""How the text begins that a model is shown of a tool that raised an exception."""

Events = tuple[list[dict[str, Any]], list[dict[str, str]]]
"""Events with ids and times, and the edges between them."""


def numbered(events: Sequence[Mapping[str, Any]]) -> Events:
    """Events with ids and times, each after the one before."""
    named = [{"id": f"e{at}", "t": float(at), **event} for at, event in enumerate(events)]
    return named, [{"src": f"e{at}", "dst": f"e{at + 1}", "type": "temporal"} for at in range(len(events) - 1)]


def events_of(messages: Sequence[Mapping[str, Any]], answer: str | None = None) -> Events:
    """What was asked, a call or a last word for each turn of the model, and the results of calls.

    Args:
        messages: as OpenAI's; a conversation that does not begin with what was asked gets an event for that.
        answer: the reference, kept with what the model says.
    """
    events: list[dict[str, Any]] = []
    edges: list[dict[str, str]] = []
    waiting: list[int] = []
    if not messages or messages[0].get("role") not in ("user", "system", "developer"):
        events.append({"type": "message", "agent": TASK, "from": TASK, "to": MODEL})
    for message in messages:
        if message.get("role") == "tool":
            events.append(_result(message))
            if waiting:
                edges.append({"src": f"e{waiting.pop(0)}", "dst": f"e{len(events) - 1}", "type": "tool_dependency"})
        elif message.get("role") == "assistant":
            made = _turn(message, answer)
            waiting += [len(events) + at for at, event in enumerate(made) if event["type"] == "tool_call"]
            events += made
        else:
            said = {"text": _text(message), "message": dict(message)}
            events.append({"type": "message", "agent": TASK, "from": TASK, "to": MODEL, "x": said})
    named, order = numbered(events)
    return named, [*edges, *order]


def messages_of(trace: Trace) -> list[dict[str, Any]]:
    """The messages that the events were made from, in their order; empty where the trace was not made from messages."""
    return [event.x["message"] for event in trace.events if "message" in event.x]


def rows_of(trace: Trace) -> dict[str, Any] | None:
    """A row of `messages`, `tools`, ids and rewards, as sft takes it; None where the trace was not made from messages."""
    messages = messages_of(trace)
    if not messages or messages[-1].get("role") != "assistant":
        return None
    tools = next((event.x["tools"] for event in trace.events if event.x.get("tools")), None)
    row = {"messages": messages, "trace_id": trace.trace_id, "task_id": trace.task_id, **trace.rewards}
    return {**row, **({"tools": tools} if tools else {})}


def _turn(message: Mapping[str, Any], answer: str | None) -> list[dict[str, Any]]:
    """The calls of a turn, or what it says."""
    calls = [call.get("function", call) for call in message.get("tool_calls") or []]
    if not calls:
        said = {"text": _text(message), **({"answer": answer} if answer is not None else {}), "message": dict(message)}
        return [{"type": "return", "agent": MODEL, "from": MODEL, "to": TASK, "x": said}]
    return [
        {
            "type": "tool_call",
            "agent": MODEL,
            "tool": call.get("name"),
            "x": {"arguments": call.get("arguments"), **({} if number else {"message": dict(message)})},
        }
        for number, call in enumerate(calls)
    ]


def _result(message: Mapping[str, Any]) -> dict[str, Any]:
    text = _text(message)
    error = {"error": text} if text.startswith(_FAILED) else {}
    x = {"text": text, **error, "message": dict(message)}
    return {"type": "tool_result", "agent": TOOLS, "tool": message.get("name"), "x": x}


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return str(content or "")
