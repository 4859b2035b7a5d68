"""Traces: the schema and its example, measures and rewards of graphs made by hand, and traces of rollouts."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from rlllm.core.errors import DataError
from rlllm.core.runs import write_jsonl
from rlllm.core.traces import Trace, parse, read_traces
from rlllm.tools.traces.measures import measures
from rlllm.tools.traces.of_runs import traces_in
from rlllm.tools.traces.rewards import Unit, Weights, advantages, rewards
from rlllm.tools.traces.timeline import html, rows

EXAMPLE = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "traces" / "two_workers.json").read_text(encoding="utf-8")
)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example with the value at a path replaced, or taken out where it is None."""
    made = copy.deepcopy(EXAMPLE)
    *before, last = path.split(".")
    place: Any = made
    for step in before:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is None:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return made


def test_the_example_fits_and_comes_back_as_it_was() -> None:
    trace = parse(EXAMPLE, "the example")
    assert json.loads(json.dumps(trace.to_json())) == EXAMPLE


UNFIT: list[tuple[str, Any, str]] = [
    ("events.1.id", "e0", "events.0.id: 'e0' is the id of 2 events"),
    ("edges.0.dst", "e99", "edges.0.dst: no event has the id 'e99'"),
    ("events.2.type", "stop", "events.2.type: input should be 'orchestrator_decision'"),
    ("events.2.t", -1, "events.2.t: input should be greater than or equal to 0"),
    ("events.2.t", "1", "events.2.t: input should be a valid number"),
    ("events.2.agent", None, "events.2.agent: field required"),
    ("edges.0.type", "follows", "edges.0.type: input should be 'temporal'"),
    ("edges.0.weight", 1, "edges.0.weight: extra inputs are not permitted"),
    ("costs.tokens", -3, "costs.tokens: input should be greater than or equal to 0"),
    ("costs.seconds", -3, "costs.seconds: input should be greater than or equal to 0"),
    ("costs.wall_clock_s", None, "costs.wall_clock_s: field required"),
    ("rewards.R1_team", "yes", "rewards.R1_team: input should be a valid number"),
    ("topology", "star", "topology: input should be 'centralized'"),
    ("agents", [], "agents: extra inputs are not permitted"),
    ("events", None, "events: field required"),
]


@pytest.mark.parametrize(("path", "value", "words"), UNFIT, ids=[f"{path} {value}" for path, value, _ in UNFIT])
def test_what_does_not_fit_is_refused_with_the_path_to_it(path: str, value: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(changed(path, value), "line 3")
    assert "line 3 is no trace" in str(caught.value)
    assert words in str(caught.value)


def test_further_fields_of_events_and_costs_are_kept() -> None:
    trace = parse(changed("events.0.mood", "calm"), "the example")
    assert trace.to_json()["events"][0]["mood"] == "calm"
    assert parse(changed("costs.dollars", 2), "the example").to_json()["costs"]["dollars"] == 2


def test_a_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(EXAMPLE) + "\n\n{no json\n")
    with pytest.raises(DataError, match=r"line 3 of .* is no JSON"):
        list(read_traces(path))
    with pytest.raises(DataError, match="no such file of traces"):
        list(read_traces(tmp_path / "none.jsonl"))


def test_the_example_has_the_measures_that_it_says() -> None:
    found = measures(parse(EXAMPLE, "the example"))
    for name in ("critical_steps", "total_steps", "parallelism_efficiency"):
        assert found[name] == pytest.approx(EXAMPLE["metrics"][name])
    assert found["speedup"] == pytest.approx(12 / 9)
    assert (found["spawned"], found["returned_share"]) == (2, 1)
    assert found["useful_agents_share"] == 1
    assert found["repeated_messages_share"] == 0


def made(events: list[dict[str, Any]], edges: list[tuple[int, int]] = [], **more: Any) -> Trace:  # noqa: B006
    return parse(
        {
            "trace_id": "a",
            "task_id": "t",
            "events": [{"id": f"e{at}", "t": at, **event} for at, event in enumerate(events)],
            "edges": [{"src": f"e{src}", "dst": f"e{dst}", "type": "causal"} for src, dst in edges],
            "rewards": {},
            "costs": {"tokens": 1, "wall_clock_s": 0},
            **more,
        },
        "made",
    )


def worker(name: str, steps: float, **x: Any) -> dict[str, Any]:
    return {"type": "return", "agent": name, "x": {"steps": steps, **x}}


LEAD = {"type": "orchestrator_decision", "agent": "lead"}


def test_a_chain_has_no_speedup_and_two_equal_workers_nearly_two() -> None:
    chain = measures(made([LEAD, worker("a", 5), LEAD, worker("b", 5), LEAD]))
    assert (chain["speedup"], chain["parallelism_efficiency"]) == (1, 0)
    beside = measures(made([LEAD, worker("a", 500), worker("b", 500), LEAD]))
    assert beside["speedup"] == pytest.approx(1002 / 502)


def test_agents_that_lead_nowhere_and_messages_said_twice_are_counted() -> None:
    note = {"type": "message", "agent": "a", "from": "a", "to": "lead", "content_ref": "sha:1"}
    trace = made([LEAD, note, note, {"type": "message", "agent": "b"}, LEAD], [(0, 1), (1, 4)])
    found = measures(trace)
    assert found["useful_agents_share"] == pytest.approx(2 / 3)
    assert found["repeated_messages_share"] == pytest.approx(1 / 3)


def test_every_family_has_the_value_of_its_formula() -> None:
    result = {"type": "tool_result", "agent": "tools"}
    trace = made(
        [
            LEAD,
            {"type": "spawn", "agent": "lead", "to": "a"},
            {"type": "spawn", "agent": "lead", "to": "b"},
            {**result, "x": {"used": True}},
            {**result, "x": {"error": "no such tool"}},
            {
                "type": "message",
                "agent": "a",
                "role": "reviewer",
                "x": {"verdict": "right", "right": False, "reward": -1},
            },
            {
                "type": "message",
                "agent": "a",
                "role": "reviewer",
                "x": {"verdict": "wrong", "right": False, "reward": 1},
            },
            {
                "type": "message",
                "agent": "b",
                "role": "proposer",
                "x": {"verdict": "maybe", "right": True, "reward": 1},
            },
            worker("a", 1, quality=0.5, score=0.25),
            LEAD,
        ],
        metrics={"task_success": 1},
    )
    found = rewards(trace, Weights())
    assert found.roles == {"reviewer": 0, "proposer": 1}
    assert found.agents == {"a": 0.5}
    efficiency = measures(trace)["parallelism_efficiency"]
    assert found.families == pytest.approx(
        {
            "R1_team": 1,
            "R2_individual": 0.5,
            "R3_role": 0.5,
            "R4_process": 0.25,
            "R5_tool": (2 - 1) / 2,
            "R6_debate": 0,
            "R7_orchestration": 1 + 0.1 * efficiency + 0.1 * 0.5,
            "R8_hybrid": 0.75,
        }
    )
    assert rewards(trace, Weights(team=1.0)).families["R8_hybrid"] == 1
    assert rewards(made([LEAD]), Weights()).families == {}


def test_credit_compares_like_with_like_within_a_task() -> None:
    def run(name: str, task: str, success: float, first: float, second: float) -> Trace:
        events = [
            LEAD,
            {"type": "message", "agent": "a", "role": "r", "x": {"reward": first}},
            worker("a", 1, quality=second, reward=second),
        ]
        return made(events, trace_id=name, task_id=task, metrics={"task_success": success})

    traces = [run("1", "t", 1, 1, 0.5), run("2", "t", 0, 0, 0.5), run("3", "u", 1, 1, 1)]
    team = {row["trace_id"]: row["advantage"] for row in advantages(traces, "team", Weights())}
    assert team == pytest.approx({"1": 1, "2": -1, "3": 0}, abs=1e-6)
    assert [row["advantage"] for row in advantages(traces, "agent", Weights())] == [0, 0, 0]
    turns = advantages(traces, "turn", Weights())
    assert [row["value"] for row in turns] == [1.5, 0.5, 0.5, 0.5, 2, 1]
    assert [row["advantage"] for row in turns] == pytest.approx([1, 0, -1, 0, 0, 0], abs=1e-6)
    assert all(row.keys() >= {"trace_id", "task_id", "of", "value", "advantage"} for row in turns)
    assert advantages(traces, "orchestrator", Weights()) == []


def test_only_decisions_of_the_orchestrator_get_its_credit() -> None:
    (row,) = advantages([parse(EXAMPLE, "the example")], "orchestrator", Weights())
    assert row["events"] == ["e0", "e3", "e8"]


TRANSCRIPT = [
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "guess", "arguments": {"number": 2}}}]},
    {"role": "tool", "name": "guess", "content": "higher"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "gess", "arguments": {}}}]},
    {"role": "tool", "name": "gess", "content": "{'error': 'Tool gess not found.'}"},
    {"role": "assistant", "content": "done"},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    row = {
        "step": 1,
        "row": 4,
        "transcript": TRANSCRIPT,
        "rewards": {"environment": {"value": 1.0}},
        "tokens": 30,
        "answer": None,
    }
    write_jsonl(tmp_path / "samples.jsonl", [row, row, {"step": 1, "row": 5}])
    item = {
        "task": "guess",
        "id": "ab",
        "scores": [0.0],
        "tokens": [9],
        "transcripts": [TRANSCRIPT[-1:]],
        "answer": "3",
    }
    write_jsonl(tmp_path / "items.jsonl", [item])
    return tmp_path


def test_rollouts_of_a_run_become_traces_of_the_schema(run: Path) -> None:
    trace, again, evaluated = traces_in(run)
    assert (trace.trace_id, again.trace_id, evaluated.trace_id) == ("step1-row4-0", "step1-row4-1", "guess-ab-0")
    kinds = ["message", "tool_call", "tool_result", "tool_call", "tool_result", "return"]
    assert [event.type for event in trace.events] == kinds
    assert trace.metrics == {"task_success": 1}
    assert (trace.costs.tokens, trace.costs.tool_calls) == (30, 2)
    assert measures(trace)["tool_errors_share"] == 0.5
    assert measures(trace)["speedup"] == 1
    assert evaluated.metrics == {"task_success": 0}
    for unit in get_args(Unit):
        advantages([trace, again, evaluated], unit, Weights())


def test_a_run_without_turns_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rollouts of several turns"):
        traces_in(tmp_path)


def test_a_timeline_names_what_was_chosen_and_a_page_holds_every_event(run: Path) -> None:
    trace = parse(EXAMPLE, "the example")
    told = rows(trace)
    assert told[0][:3] == ("0", "orc", "O1_spawn")
    assert "chose spawn:2 of none, spawn:1, spawn:2" in told[0][3]
    written = html([trace, *traces_in(run)])
    assert written.count("<circle") == len(trace.events) + 6 + 6 + 2
    assert "<script" not in written


def test_markup_in_a_trace_is_shown_and_not_obeyed() -> None:
    trace = parse(changed("events.0.agent", "<script>x</script>"), "the example")
    assert "<script>" not in html([trace])


def _answered(folder: Path, *turns: dict[str, Any]) -> Trace:
    item = {"task": "t", "id": "0123456789abcdef", "scores": [1.0], "answer": "4", "dialogues": [list(turns)]}
    write_jsonl(folder / "items.jsonl", [item])
    (trace,) = traces_in(folder)
    return trace


def _turn(number: int, role: str, text: str | None, agent: int = 0, **more: Any) -> dict[str, Any]:
    said = {"spoke": False} if text is None else {"spoke": True, "text": text, "tokens": 3}
    return {"turn": number, "agent": agent, "role": role, **said, **more}


def test_an_answer_by_dialogue_is_a_serial_trace_with_its_choices(tmp_path: Path) -> None:
    trace = _answered(
        tmp_path,
        _turn(1, "proposer", "#### 5", right=False, choice=False),
        _turn(2, "reviewer", "WRONG", 1, verdict=False, right=False, choice=True),
        _turn(3, "proposer", None, choice=True),
    )
    assert [(event.type, event.agent) for event in trace.events] == [
        ("message", "task"),
        ("message", "agent0"),
        ("orchestrator_decision", "controller"),
        ("message", "agent1"),
        ("orchestrator_decision", "controller"),
        ("return", "controller"),
    ]
    assert [event.x["choice"] for event in trace.events if event.type == "orchestrator_decision"] == [1, 0]
    found = measures(trace)
    assert found["repeated_messages_share"] == 0
    assert rewards(trace, Weights()).families["R6_debate"] == 1
    assert trace.costs.tokens == 6


@pytest.mark.parametrize("in_words", [False, True])
def test_attempts_end_with_a_decision_to_stop(tmp_path: Path, in_words: bool) -> None:
    said = [[_turn(2 * at, "decision", word)] if in_words else [] for at, word in ((1, "CONTINUE"), (2, "STOP"))]
    trace = _answered(tmp_path, _turn(1, "draft", "#### 4"), *said[0], _turn(3, "draft", "#### 4"), *said[1])
    choices = [event for event in trace.events if event.type == "orchestrator_decision"]
    assert [event.x["options"][event.x["choice"]] for event in choices] == ["continue", "stop"]
    assert {event.agent for event in choices} == {"agent0" if in_words else "controller"}
