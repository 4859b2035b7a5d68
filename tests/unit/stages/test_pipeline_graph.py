"""The graph of a pipeline and its gates: what is refused before anything runs, and what is decided by numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlllm import run_pipeline
from rlllm.core.errors import ConfigError
from rlllm.core.runs import read_json
from rlllm.stages.pipeline.gates import Gate
from rlllm.stages.pipeline.measurable import numbers_of
from rlllm.stages.pipeline.settings import load_pipeline

HELD_OUT = {"name": "arithmetic", "rows": 8, "holdout": 4}


def sft(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "stage": "sft", **more}


ORDERS: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([sft("a"), sft("b"), sft("c")], ["a", "b", "c"]),
    ([sft("a", needs="c"), sft("b", needs=[]), sft("c", needs=[])], ["b", "c", "a"]),
    (
        [sft("d", needs=["c", "b"]), sft("c", needs=["a"]), sft("b", needs=["a"]), sft("a", needs=[])],
        ["a", "c", "b", "d"],
    ),
    ([sft("a", model="@b"), sft("b", needs=[])], ["b", "a"]),
]


@pytest.mark.parametrize(("steps", "order"), ORDERS)
def test_a_step_begins_after_what_it_needs_and_else_in_the_order_of_the_file(
    steps: list[Any], order: list[str]
) -> None:
    assert [step.name for step in load_pipeline({"steps": steps}).ordered] == order


def test_the_step_before_is_needed_where_nothing_is_said_and_references_are_needed_as_well() -> None:
    steps = [sft("a"), sft("b"), sft("c", model="@a"), sft("d", needs=[], data="@b/rows.jsonl"), sft("e", needs="a")]
    needs = {"a": [], "b": ["a"], "c": ["a", "b"], "d": ["b"], "e": ["a"]}
    assert load_pipeline({"steps": steps}).needs == needs


EVAL = {"name": "e", "stage": "eval", "samples": 8, "tasks": [{"name": "x", "data": "arithmetic"}]}
REFUSED: list[tuple[list[dict[str, Any]], str]] = [
    ([sft("a", needs="b")], "step a needs b, which is no other step"),
    ([sft("a", needs="a")], "step a needs a, which is no other step"),
    ([sft("a", needs=["c"]), sft("b"), sft("c")], "given: a needs c, c needs b, b needs a"),
    ([sft("a", gate="a.held-out-loss.difference <")], "a gate cannot be read: invalid syntax"),
    ([sft("a", gate="a.held-out-loss.difference")], "a.held-out-loss.difference is no comparison"),
    ([sft("a", gate="a.held-out-loss.p < (1 < 2)")], "1 < 2 is no number"),
    ([sft("a", gate="open('/etc/passwd') == 1")], "open('/etc/passwd') is no number"),
    ([sft("a", gate="a.held-out-loss.p ** 9 < 1")], "a.held-out-loss.p ** 9 is no number"),
    ([sft("a", gate="a.held-out-loss.p < 0.05 and True")], "True is no comparison"),
    ([sft("a", gate="().__class__ == 1")], "().__class__ is no number"),
    ([sft("a", gate="b.held-out-loss.p < 1")], "reads b.held-out-loss.p, and b is no step"),
    ([sft("a", gate="a.held-out-los.p < 1")], "did you mean a.held-out-loss.p?"),
    ([sft("a", gate="a.pass@1.p < 1")], "exists: a.held-out-loss.after, a.held-out-loss.difference, a.held-out-loss.p"),
    ([sft("a", gate="a.held-out-loss.q < 1")], "a does not measure"),
    ([sft("a", gate="b.held-out-loss.p < 1"), sft("b")], "b may not be done by then"),
    ([EVAL | {"gate": "e.x.pass@4 > 0"}], "e does not measure"),
    ([EVAL | {"gate": "e.y.pass@8 > 0"}], "e does not measure"),
]


@pytest.mark.parametrize(("steps", "words"), REFUSED)
def test_what_cannot_be_decided_is_refused_before_any_step(steps: list[Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pipeline({"steps": steps})
    assert words in str(caught.value)


ALLOWED: list[list[dict[str, Any]]] = [
    [sft("a", gate="a.held-out-loss.difference < 0 and a.held-out-loss.difference.high < 0")],
    [sft("a", eval_reward="exact", gate="a.pass@1.after - a.pass@1.before >= -0.02 or not a.pass@1.p < 0.05")],
    [EVAL | {"gate": "e.x.pass@8 >= e.pass@1.low and e.refused <= 0.1 and max(e.maj@8, 0) < 1"}],
    [EVAL | {"tasks": ["rm"], "gate": "e.rm-arithmetic.whatever > 0"}],
    [{"name": "r", "stage": "align", "rewards": ["exact"], "gate": "r.exact-utility.difference > 0"}],
]


@pytest.mark.parametrize("steps", ALLOWED)
def test_what_a_step_can_measure_may_stand_in_its_gate(steps: list[Any]) -> None:
    load_pipeline({"steps": steps})


NUMBERS = {"a.x": 0.25, "a.x.p": 0.2, "a.y": 2.0, "a.none": None}
DECIDED: list[tuple[str, bool, str]] = [
    ("a.x > 0", True, ""),
    ("0 < a.x < 1", True, ""),
    ("a.x > 0 and a.x.p < 0.05", False, "a.x.p < 0.05 does not hold: a.x.p is 0.2"),
    ("a.x > 1 or a.y / 4 == 0.5", True, ""),
    ("not (a.x - a.y > 0)", True, ""),
    ("-a.x + abs(a.x) == min(a.x, a.y) * 0", True, ""),
    ("a.none < 1", False, "a.none < 1: a.none was not measured"),
    ("not a.none < 1", False, "not a.none < 1: a.none was not measured"),
    ("a.x / (a.y - 2) > 0", False, "a.x / (a.y - 2) > 0: float division by zero, with a.x is 0.25, a.y is 2"),
]


@pytest.mark.parametrize(("text", "holds", "failed"), DECIDED)
def test_a_gate_holds_by_the_numbers_and_says_which_part_does_not(text: str, holds: bool, failed: str) -> None:
    result = Gate.read(text).result("a", NUMBERS)
    assert (result.holds, result.failed) == (holds, failed)


def test_numbers_of_results_have_the_names_that_gates_write() -> None:
    ends = {"estimate": 0.5, "low": 0.4, "high": float("nan")}
    measure = {"name": "first wrong step found (chance 0.26)", "before": None, "after": ends, "difference": None}
    task = {"values": {"pass@1": ends}, "response_rates": {"one marked answer": ends}}
    numbers = numbers_of({"measures": [measure], "tasks": {"against nano": task}})
    assert numbers["first-wrong-step-found.after.low"] == 0.4
    assert numbers["first-wrong-step-found.p"] is None
    assert numbers["against-nano.pass@1"] == numbers["pass@1"] == numbers["one-marked-answer"] == 0.5
    assert numbers["pass@1.high"] is None


def test_a_closed_gate_ends_the_pipeline_with_the_number_and_is_recorded(tiny_model: str, tmp_path: Path) -> None:
    shared = {"model": tiny_model, "data": HELD_OUT}
    train = {"max_steps": 1, "learning_rate": 1e-3, "eval": {"rows": 4}}
    steps = [
        sft("a", **train, gate=["a.held-out-loss.after < 100", "a.held-out-loss.difference > 5"]),
        sft("b", **train),
    ]
    done = run_pipeline({**shared, "steps": steps}, tmp_path / "out")
    assert (done.ok, done.complete, list(done.runs)) == (False, False, ["a"])
    recorded = read_json(tmp_path / "out" / "pipeline.json")["gates"]
    assert [gate["holds"] for gate in recorded] == [True, False]
    assert recorded[1]["numbers"].keys() == {"a.held-out-loss.difference"}
    change = done.runs["a"].results["measures"][0]["difference"]["estimate"]
    assert recorded[1]["failed"].endswith(f"does not hold: a.held-out-loss.difference is {change:.4g}")
