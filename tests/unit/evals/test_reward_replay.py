"""Two rewards on the same completions: literal tables, SciPy for the ranks, and what must hold for any rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from rlllm.evals.reward_replay import by_step, change, comparison, confusion, group_changes, rank_correlation, signs

NAN = np.nan
values = st.lists(st.one_of(st.sampled_from([0.0, 1.0, NAN]), st.floats(-5, 5)), min_size=8, max_size=8)


def test_the_confusion_counts_what_passed_before_and_after() -> None:
    before = np.array([1.0, 1.1, 0.0, 0.9, NAN, NAN])
    after = np.array([1.0, 0.0, 2.0, NAN, 1.0, NAN])
    assert confusion(before, after) == {
        "pass": {"pass": 1, "fail": 1, "none": 0},
        "fail": {"pass": 1, "fail": 0, "none": 1},
        "none": {"pass": 1, "fail": 0, "none": 1},
    }


def test_signs_that_flip_fall_silent_or_awake_and_rounding_that_is_none() -> None:
    before = np.array([1.0, -1.0, 0.5, 0.0, 1e-12, 2.0])
    after = np.array([-1.0, 0.5, 0.0, -0.5, -1e-12, 0.1])
    assert signs(before, after) == pytest.approx(
        {"flipped": 2 / 6, "silenced": 1 / 6, "awakened": 1 / 6, "same": 2 / 6}
    )


GROUPS = [
    ("mixed to flat", [0, 1], [1, 1], (0.0, 1.0, 1.0, 0.0)),
    ("flat to mixed", [1, 1], [0, 1], (1.0, 0.0, 0.0, 1.0)),
    ("both mixed", [0, 1], [1, 0], (0.0, 0.0, 0.0, 0.0)),
    ("only one is judged, so nothing competes", [0, 1], [NAN, 1], (0.0, 1.0, 1.0, 0.0)),
    ("none is judged", [NAN, NAN], [NAN, NAN], (1.0, 1.0, 0.0, 0.0)),
    ("equal but for rounding", [0.1 + 0.2, 0.3], [0, 1], (1.0, 0.0, 0.0, 1.0)),
]


@pytest.mark.parametrize(("case", "before", "after", "expected"), GROUPS, ids=[case[0] for case in GROUPS])
def test_groups_without_two_different_rewards_are_flat(case: str, before: Any, after: Any, expected: Any) -> None:
    found = group_changes(np.array(before, dtype=float), np.array(after, dtype=float), [7, 7])
    assert found["count"] == 1
    seen = found["flat"]["before"], found["flat"]["after"], found["become_flat"], found["become_mixed"]
    assert seen == expected


def test_the_rank_correlation_is_that_of_scipy_where_both_know() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 4, 50).astype(float), generator.normal(size=50)
    first[3] = second[9] = NAN
    known = ~(np.isnan(first) | np.isnan(second))
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first[known], second[known]).statistic)
    assert rank_correlation(first, np.ones(50)) is None
    assert rank_correlation(np.full(50, NAN), second) is None


def test_the_change_is_that_of_prompts_not_of_completions() -> None:
    before, after = np.zeros(6), np.array([1.0, 1.0, 1.0, 1.0, 0.0, NAN])
    found = change(before, after, ["a", "a", "a", "a", "b", "b"])
    assert found is not None
    assert found["estimate"] == pytest.approx(0.5)
    assert found["n"] == 2
    assert change(np.array([NAN]), np.array([1.0]), ["a"]) is None


def test_steps_have_their_means_and_flips() -> None:
    before, after = np.array([0.0, 1.0, 1.0, NAN]), np.array([1.0, 0.0, 1.0, NAN])
    pushes = np.array([-1.0, 1.0, 1.0, 0.0]), np.array([1.0, -1.0, 1.0, 0.0])
    assert by_step(before, after, pushes, [1, 1, 2, 3]) == [
        {"step": 1, "before": 0.5, "after": 0.5, "flipped": 1.0},
        {"step": 2, "before": 1.0, "after": 1.0, "flipped": 0.0},
        {"step": 3, "before": None, "after": None, "flipped": 0.0},
    ]


@given(values, values)
@settings(max_examples=30, deadline=None)
def test_shares_lie_between_0_and_1_and_counts_add_up(before: list[float], after: list[float]) -> None:
    sides = np.array(before), np.array(after)
    pushes = tuple(np.nan_to_num(side - 0.5) for side in sides)
    found = comparison(
        *sides, (pushes[0], pushes[1]), groups=[0] * 4 + [1] * 4, prompts=["a"] * 4 + ["b"] * 4, steps=[1] * 4 + [2] * 4
    )
    assert sum(count for row in found["confusion"].values() for count in row.values()) == found["scored"] == 8
    assert found["signs"]["flipped"] + found["signs"]["silenced"] + found["signs"]["awakened"] <= 1
    flat = found["groups"]["flat"]
    moved = found["groups"]["become_flat"] - found["groups"]["become_mixed"]
    assert flat["after"] - flat["before"] == pytest.approx(moved)


@given(values)
@settings(max_examples=20, deadline=None)
def test_the_same_reward_changes_nothing(scores: list[float]) -> None:
    side = np.array(scores)
    push = np.nan_to_num(side)
    found = comparison(side, side, (push, push), groups=[0] * 8, prompts=list("abcdefgh"), steps=[1] * 8)
    assert found["signs"] == {"flipped": 0.0, "silenced": 0.0, "awakened": 0.0, "same": 1.0}
    assert found["groups"]["become_flat"] == found["groups"]["become_mixed"] == 0.0
    assert found["rank_correlation"] in (None, pytest.approx(1.0))
