"""The verdict as a table: what was observed, and the reasons it gives."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.verdict import Diagnostics, judge

FOUND = {"monitor": "plateau", "step": 3, "onset": 1, "evidence": "it stands", "cause": "why", "hint": "do"}
FINE: dict[str, Any] = {
    "steps_requested": 10,
    "steps_done": 10,
    "rows": 100,
    "rows_needed": 8,
    "largest_gradient": 0.5,
    "weights_changed": True,
}
REWARDED = {**FINE, "reward_rows": 80, "reward_spread": 1.0}
PAIRED = {**FINE, "pairs": 100}
MOVED = ("training_change", "monitored_change")
CHANGE = {"estimate": 1.0, "low": 0.5, "high": 1.5}

TABLE: list[tuple[str, dict[str, Any], list[str], bool]] = [
    ("everything is fine", FINE, [], True),
    ("everything is fine, with rewards", REWARDED, [], True),
    ("everything is fine, with pairs", PAIRED, [], True),
    ("nothing but steps is known, as of an evaluation", {"steps_requested": 2, "steps_done": 2, "rows": 9}, [], True),
    ("an error ended it", {**FINE, "failure": "the reward r raised"}, ["error"], False),
    ("Ctrl-C ended it", {**FINE, "steps_done": 4, "interrupted": True}, ["interrupted"], False),
    ("fewer rows than one step takes", {**FINE, "rows": 7, "steps_requested": 0}, ["too_little_data"], False),
    ("just enough rows", {**FINE, "rows": 8}, [], True),
    ("no rows", {"rows": 0}, ["too_little_data"], False),
    ("no reward judged any completion", {**REWARDED, "reward_undefined": 80}, ["reward_undefined"], False),
    ("some completions were judged", {**REWARDED, "reward_undefined": 79}, [], True),
    ("one reward for all", {**REWARDED, "reward_spread": 0.0}, ["constant_reward"], False),
    (
        "no completion was judged, which is not the same as one reward for all",
        {**REWARDED, "reward_spread": 0.0, "reward_undefined": 80},
        ["reward_undefined"],
        False,
    ),
    ("a reward that differs by little", {**REWARDED, "reward_spread": 1e-9}, [], True),
    ("nothing was scored", {**FINE, "reward_rows": 0, "reward_spread": 0.0}, [], True),
    ("every pair is identical", {**PAIRED, "identical_pairs": 100}, ["identical_pairs"], False),
    ("some pairs are identical", {**PAIRED, "identical_pairs": 3}, ["identical_pairs"], True),
    ("no pairs", {**FINE, "pairs": 0}, [], True),
    ("a loss was not finite", {**FINE, "non_finite_steps": 1}, ["non_finite"], False),
    ("no gradient ever", {**FINE, "largest_gradient": 0.0}, ["no_gradient"], False),
    ("no gradient was logged", {**FINE, "largest_gradient": None}, [], True),
    ("a tiny gradient", {**FINE, "largest_gradient": 1e-30}, [], True),
    ("the weights stayed", {**FINE, "weights_changed": False}, ["weights_unchanged"], False),
    ("nobody looked at the weights", {**FINE, "weights_changed": None}, [], True),
    ("steps are missing", {**FINE, "steps_done": 9}, ["steps_missing"], False),
    (
        "the reward rose and a monitored one fell, which is a warning",
        {
            **REWARDED,
            "divergences": [
                {"alarm": True, "training_reward": "p", "monitored_reward": "s", **dict.fromkeys(MOVED, CHANGE)}
            ],
        },
        ["overoptimised"],
        True,
    ),
    (
        "a reward failed now and then, and another kept memory, which are warnings",
        {
            **REWARDED,
            "reward_faults": [
                {"reward": "r", "seen": 64, "failed": 2, "first": "raised KeyError: 'b'", "grown": 0},
                {"reward": "s", "seen": 64, "failed": 0, "first": None, "grown": 2**30},
            ],
        },
        ["rewards_failed", "reward_memory"],
        True,
    ),
    ("a monitored reward moved along", {**REWARDED, "divergences": [{"alarm": False}]}, [], True),
    ("a monitor warned", {**FINE, "findings": [{**FOUND, "ended": False}]}, ["plateau"], True),
    (
        "a monitor ended the run",
        {**FINE, "steps_done": 3, "findings": [{**FOUND, "ended": True}], "identical_pairs": 1, "pairs": 2},
        ["plateau", "identical_pairs"],
        False,
    ),
    (
        "no step was asked for",
        {**FINE, "steps_requested": 0, "steps_done": 0, "weights_changed": False},
        ["weights_unchanged"],
        False,
    ),
    (
        "it was stopped, since rewards differed no longer",
        {**REWARDED, "steps_done": 8, "stopped_flat": 3, "steps_compared": 8, "steps_flat": 3},
        ["stopped_flat"],
        True,
    ),
    (
        "it was stopped, since rewards never differed",
        {**REWARDED, "steps_done": 3, "stopped_flat": 3, "reward_spread": 0.0, "steps_compared": 3, "steps_flat": 3},
        ["constant_reward", "steps_missing"],
        False,
    ),
    (
        "a verifier never paid, and another could not judge",
        {
            **REWARDED,
            "never_paid": [
                {"reward": "exact", "seen": 160, "undefined": 0},
                {"reward": "math", "seen": 160, "undefined": 160},
            ],
        },
        ["reward_never_paid"],
        True,
    ),
    (
        "an error comes before its consequences",
        {**FINE, "failure": "x", "steps_done": 0, "weights_changed": False},
        ["error", "weights_unchanged", "steps_missing"],
        False,
    ),
    (
        "a constant reward comes before its consequences",
        {**REWARDED, "reward_spread": 0.0, "largest_gradient": 0.0, "weights_changed": False, "steps_done": 5},
        ["constant_reward", "no_gradient", "weights_unchanged", "steps_missing"],
        False,
    ),
]


@pytest.mark.parametrize(("diagnostics", "codes", "ok"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_facts_lead_to_these_reasons(diagnostics: dict[str, Any], codes: list[str], ok: bool) -> None:
    verdict = judge(Diagnostics(**diagnostics))
    assert [reason.code for reason in verdict.reasons] == codes
    assert verdict.ok is ok


FACTS = st.builds(
    Diagnostics,
    steps_requested=st.integers(0, 9),
    steps_done=st.integers(0, 9),
    rows=st.integers(0, 9),
    rows_needed=st.integers(0, 9),
    non_finite_steps=st.integers(0, 2),
    largest_gradient=st.none() | st.floats(0),
    weights_changed=st.none() | st.booleans(),
    reward_rows=st.none() | st.integers(0, 3),
    reward_undefined=st.integers(0, 3),
    reward_spread=st.none() | st.floats(0, 1),
    pairs=st.none() | st.integers(0, 3),
    identical_pairs=st.integers(0, 3),
    interrupted=st.booleans(),
    failure=st.none() | st.just("it broke"),
)


@given(FACTS)
def test_success_means_that_no_reason_is_fatal(diagnostics: Diagnostics) -> None:
    verdict = judge(diagnostics)
    assert verdict.ok == (not any(reason.fatal for reason in verdict.reasons))
    assert len({reason.code for reason in verdict.reasons}) == len(verdict.reasons)
    assert all(reason.text for reason in verdict.reasons)


@given(FACTS)
def test_success_means_that_steps_ran_numbers_were_finite_and_weights_moved(diagnostics: Diagnostics) -> None:
    if judge(diagnostics).ok:
        assert diagnostics.steps_done >= diagnostics.steps_requested
        assert diagnostics.non_finite_steps == 0
        assert diagnostics.weights_changed is not False
        assert diagnostics.largest_gradient != 0
        assert diagnostics.failure is None
        assert not diagnostics.interrupted


def test_a_verdict_is_json_with_the_facts_it_rests_on() -> None:
    verdict = json.loads(json.dumps(judge(Diagnostics(**{**FINE, "steps_done": 9})).to_json()))
    assert verdict["diagnostics"]["steps_done"] == 9
    assert verdict["reasons"] == [
        {"code": "steps_missing", "text": "9 of 10 requested steps ran", "hint": "", "fatal": True}
    ]


def test_an_infinite_gradient_is_no_zero_gradient() -> None:
    assert judge(Diagnostics(**{**FINE, "largest_gradient": math.inf})).ok


@pytest.mark.parametrize(("gradient", "words"), [(0.0, "no step had a gradient"), (0.5, "from a bonus or a KL term")])
def test_a_constant_reward_says_whether_there_were_gradients(gradient: float, words: str) -> None:
    (reason, *_) = judge(Diagnostics(**{**REWARDED, "reward_spread": 0.0, "largest_gradient": gradient})).reasons
    assert (reason.code, reason.fatal) == ("constant_reward", True)
    assert words in reason.text


def test_diagnostics_of_child_runs_add_up() -> None:
    whole = Diagnostics(rows=9, pairs=4)
    whole.merge(
        Diagnostics(steps_requested=3, steps_done=3, largest_gradient=0.5, weights_changed=True, rows=2, pairs=7)
    )
    whole.merge(
        Diagnostics(steps_requested=3, steps_done=1, largest_gradient=0.2, non_finite_steps=1, weights_changed=True)
    )
    assert (whole.steps_requested, whole.steps_done, whole.non_finite_steps) == (6, 4, 1)
    assert (whole.largest_gradient, whole.weights_changed, whole.interrupted) == (0.5, True, False)
    assert (whole.rows, whole.pairs) == (9, 4)


def test_weights_of_a_whole_changed_if_those_of_every_child_did() -> None:
    whole = Diagnostics()
    for changed in (True, False, True):
        whole.merge(Diagnostics(weights_changed=changed, interrupted=not changed))
    assert (whole.weights_changed, whole.interrupted) == (False, True)


def test_every_field_of_the_diagnostics_says_how_it_merges() -> None:
    assert [field.name for field in fields(Diagnostics) if "merge" not in field.metadata] == []
