"""Traces of a run with an environment: one of each rollout whose transcript the run has kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import fingerprint
from rlllm.core.runs import Run, read_jsonl
from rlllm.core.traces import Trace, parse, read_traces
from rlllm.rollouts.dialogue.play import DECISION, DRAFT
from rlllm.rollouts.environments.base import TRANSCRIPT
from rlllm.tools.traces.conversations import MODEL, TASK, events_of, numbered


def traces_in(place: Path) -> list[Trace]:
    """The traces of a file, or of a run's rollouts.

    Raises:
        DataError: there are none, or a line of the file is no trace.
    """
    if place.is_dir():
        found = [*_of_samples(Run(place)), *_of_items(Run(place)), *_of_dialogues(Run(place))]
        if not found:
            raise DataError(
                "the run has no rollouts of several turns",
                given=str(place),
                hint="runs of reason and eval with environment=NAME, and of eval with dialogue=NAME, have them",
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


def _of_dialogues(run: Run) -> Iterator[Trace]:
    """Of an evaluation by dialogue: every answer to each problem."""
    for item in read_jsonl(run.path / "items.jsonl"):
        for at, (turns, score) in enumerate(zip(item.get("dialogues") or (), item["scores"], strict=False)):
            name = f"{item['task']}-{item['id'][:12]}"
            events, edges = _events_of_turns(turns, item["answer"])
            tokens = sum(turn.get("tokens", 0) for turn in turns)
            yield _parsed(f"{name}-{at}", name, "debate", events, edges, {"score": score}, tokens)


_CONTROLLER = "controller"
_VERDICTS = {True: "right", False: "wrong", None: "unreadable"}
_SILENT_OR_SPEAK = {"sub": "O3_communicate", "options": ["silent", "speak"]}
_GO_ON_OR_STOP = {"sub": "O5_stop", "options": ["continue", "stop"]}


def _events_of_turns(
    turns: Sequence[Mapping[str, Any]], answer: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The controller's choices, what was said, and the answer at the end."""
    events: list[dict[str, Any]] = [{"type": "message", "agent": TASK, "from": TASK, "to": MODEL}]
    for number, turn in enumerate(turns):
        following = turns[number + 1] if number + 1 < len(turns) else None
        if turn.get("choice"):
            events.append(_decides(_CONTROLLER, _SILENT_OR_SPEAK, turn["spoke"]))
        if turn["spoke"]:
            events.append(_message(turn))
        if turn["role"] == DRAFT and (following is None or following["role"] == DRAFT):
            events.append(_decides(_CONTROLLER, _GO_ON_OR_STOP, following is None))
        elif turn["role"] == DECISION:
            events.append(_decides(f"agent{turn['agent']}", _GO_ON_OR_STOP, following is None))
    given = {"answer": answer} if answer is not None else {}
    events.append({"type": "return", "agent": _CONTROLLER, "to": TASK, "x": given})
    return numbered(events)


def _decides(agent: str, what: Mapping[str, Any], choice: bool) -> dict[str, Any]:
    return {"type": "orchestrator_decision", "agent": agent, "x": {**what, "choice": int(choice)}}


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    verdict = {"verdict": _VERDICTS[turn["verdict"]]} if "verdict" in turn else {}
    said = {"text": turn["text"], **verdict, **({"right": turn["right"]} if "right" in turn else {})}
    who = {"agent": f"agent{turn['agent']}", "role": turn["role"]}
    return {"type": "message", **who, "content_ref": f"sha256:{fingerprint(turn['text'])}", "x": said}


def _trace(
    trace_id: str,
    task_id: str,
    messages: Sequence[Mapping[str, Any]],
    rewards: Mapping[str, float | None],
    tokens: int | None,
    answer: str | None,
) -> Trace:
    return _parsed(trace_id, task_id, "harness", *events_of(messages, answer), rewards, tokens)


def _parsed(
    trace_id: str,
    task_id: str,
    topology: str,
    events: Sequence[Mapping[str, Any]],
    edges: Sequence[Mapping[str, str]],
    rewards: Mapping[str, float | None],
    tokens: int | None,
) -> Trace:
    known = {name: float(value) for name, value in rewards.items() if value is not None}
    return parse(
        {
            "trace_id": trace_id,
            "task_id": task_id,
            "system": "rlllm",
            "topology": topology,
            "events": list(events),
            "edges": list(edges),
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


def _value(given: Any) -> float | None:
    return given.get("value") if isinstance(given, Mapping) else given
