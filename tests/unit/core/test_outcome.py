"""The outcome of a run: four states, decided by the interval of the main measure's difference."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rlllm.core.outcome import Outcome, change_text, outcome_of, summary_of
from rlllm.core.verdict import Diagnostics, judge

CARRIED_OUT: dict[str, Any] = {"steps_requested": 10, "steps_done": 10, "rows": 100, "weights_changed": True}


def ends(estimate: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"estimate": estimate, "low": low, "high": high, "n": 64, "method": "t"}


def results(low: float | None, high: float | None, *, higher_is_better: bool = True) -> dict[str, Any]:
    estimate = 0.0 if low is None or high is None else (low + high) / 2
    main = {
        "name": "pass@1" if higher_is_better else "held-out loss",
        "higher_is_better": higher_is_better,
        "before": ends(0.328, 0.243, 0.426),
        "after": ends(0.328 + estimate, 0.0, 1.0),
        "difference": {**ends(estimate, low, high), "p_value": 0.5},
    }
    side = {"name": "KL", "higher_is_better": False, "before": None, "after": ends(787, 700, 800), "difference": None}
    return {"measures": [main, side]}


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "state"),
    [
        (0.26, 0.34, True, "improved"),
        (-0.412, -0.224, True, "got worse"),
        (-0.071, 0.057, True, "no measurable change"),
        (0.0, 0.2, True, "no measurable change"),
        (-0.2, 0.0, True, "no measurable change"),
        (66.0, 70.8, False, "got worse"),
        (-0.14, -0.10, False, "improved"),
        (-0.1, 0.1, False, "no measurable change"),
    ],
)
def test_the_whole_interval_decides_which_way_the_main_measure_went(
    low: float | None, high: float | None, higher_is_better: bool, state: str
) -> None:
    assert outcome_of(results(low, high, higher_is_better=higher_is_better)).state == state


@pytest.mark.parametrize(("estimate", "state"), [(0.0, "no measurable change"), (0.5, "not measured")])
@pytest.mark.parametrize("bound", [None, math.inf])
def test_equal_differences_without_bounds_tell_only_that_nothing_changed(
    estimate: float, state: str, bound: float | None
) -> None:
    rows = results(0.1, 0.2)
    rows["measures"][0]["difference"] = ends(estimate, bound and -bound, bound)
    assert outcome_of(rows).state == state


@pytest.mark.parametrize(
    "empty",
    [
        {},
        {"measures": []},
        {"tasks": {"arithmetic": {"values": {}}}},
        {"measures": [{"name": "gold win rate", "before": None, "after": ends(0.5, 0.4, 0.6), "difference": None}]},
    ],
)
def test_without_a_difference_nothing_was_measured(empty: dict[str, Any]) -> None:
    assert outcome_of(empty).state == "not measured"


def test_side_measures_decide_nothing() -> None:
    better = results(0.26, 0.34)
    better["measures"].append(results(-0.5, -0.4)["measures"][0])
    assert outcome_of(better).state == "improved"


@pytest.mark.parametrize(
    ("estimate", "low", "high", "text"),
    [
        (0.3, 0.26, 0.34, "+0.30 [0.26, 0.34]"),
        (-0.328, -0.412, -0.224, "-0.33 [-0.41, -0.22]"),
        (-0.007, -0.071, 0.057, "-0.007 [-0.071, 0.057]"),
        (0.022, 0.003, 0.041, "+0.022 [0.003, 0.041]"),
        (0.1, 0.0004, 0.2, "+0.1000 [0.0004, 0.2000]"),
        (68.111, 66.1, 70.8, "+68.11 [66.10, 70.80]"),
        (0.0, 0.0, 0.0, "+0.00 [0.00, 0.00]"),
    ],
)
def test_a_change_has_as_many_decimals_as_it_needs(estimate: float, low: float, high: float, text: str) -> None:
    assert change_text({"estimate": estimate, "low": low, "high": high}) == text


def test_an_outcome_is_one_phrase() -> None:
    assert str(outcome_of(results(0.26, 0.34))) == "improved: pass@1 +0.30 [0.26, 0.34]"
    assert str(outcome_of({})) == "not measured"


def test_outcomes_of_several_runs_are_grouped_by_state() -> None:
    improved, worse = outcome_of(results(0.26, 0.34)), outcome_of(results(-0.4, -0.3))
    outcomes = {"sft": improved, "align": worse, "eval": None, "reason": improved}
    assert summary_of(outcomes) == "improved: sft, reason; got worse: align"


@pytest.mark.parametrize(
    ("low", "high", "fail_on", "reasons", "ok"),
    [
        (0.26, 0.34, ["no-gain", "not-measured"], [], True),
        (-0.071, 0.057, [], [("no_measurable_change", False)], True),
        (-0.071, 0.057, ["not-measured"], [("no_measurable_change", False)], True),
        (-0.071, 0.057, ["no-gain"], [("no_measurable_change", True)], False),
        (None, None, [], [("not_measured", False)], True),
        (None, None, ["no-gain"], [("not_measured", False)], True),
        (None, None, ["not-measured"], [("not_measured", True)], False),
        (-0.412, -0.224, [], [("got_worse", True)], False),
    ],
)
def test_what_the_outcome_does_to_the_verdict(
    low: float | None, high: float | None, fail_on: list[str], reasons: list[tuple[str, bool]], ok: bool
) -> None:
    verdict = judge(Diagnostics(**CARRIED_OUT), outcome_of({} if low is None else results(low, high)), fail_on)
    assert [(reason.code, reason.fatal) for reason in verdict.reasons] == reasons
    assert (verdict.ok, verdict.carried_out) == (ok, True)


def test_a_collapse_is_named_with_measure_both_ends_and_interval() -> None:
    (reason,) = judge(Diagnostics(**CARRIED_OUT), outcome_of(results(-0.412, -0.224))).reasons
    assert reason.text == (
        "pass@1 got worse on the held-out rows: 0.328 [0.243, 0.426] -> 0.01 [0, 1], change -0.32 [-0.41, -0.22]"
    )
    assert "learning rate" in reason.hint


def test_what_becomes_of_a_control_is_a_result() -> None:
    verdict = judge(Diagnostics(**CARRIED_OUT, control=True), outcome_of(results(-0.412, -0.224)), ["no-gain"])
    assert [(reason.code, reason.fatal) for reason in verdict.reasons] == [("got_worse", False)]


def test_a_run_that_failed_does_not_also_hear_that_nothing_came_of_it() -> None:
    failed = Diagnostics(**{**CARRIED_OUT, "weights_changed": False})
    verdict = judge(failed, outcome_of(results(-0.1, 0.1)), ["no-gain"])
    assert [reason.code for reason in verdict.reasons] == ["weights_unchanged"]
    assert not verdict.carried_out


def test_a_collapse_is_said_of_a_run_that_failed_too_before_the_warnings() -> None:
    broken = Diagnostics(**{**CARRIED_OUT, "steps_done": 9}, rows_cut=3)
    verdict = judge(broken, outcome_of(results(-0.4, -0.3)))
    assert [reason.code for reason in verdict.reasons] == ["steps_missing", "got_worse", "rows_cut"]


def test_of_an_interrupted_run_no_outcome_is_said() -> None:
    verdict = judge(Diagnostics(**CARRIED_OUT, interrupted=True), outcome_of({}), ["not-measured"])
    assert [reason.code for reason in verdict.reasons] == ["interrupted"]


def test_an_outcome_comes_back_from_the_verdict() -> None:
    outcome = outcome_of(results(0.26, 0.34))
    verdict = judge(Diagnostics(**CARRIED_OUT), outcome).to_json()
    assert verdict["outcome"]["state"] == "improved"
    assert verdict["outcome"]["difference"] == {"estimate": 0.30000000000000004, "low": 0.26, "high": 0.34}
    assert Outcome(**verdict["outcome"]) == outcome
