"""What the report reads out of a log: the entropy law with its R^2, and pass rates by difficulty."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rlllm.report.difficulty import Difficulty, difficulty_table
from rlllm.report.entropy_law import entropy_figure


def logged(steps: int, law: bool = True) -> list[dict[str, Any]]:
    entropies = [1 - 0.02 * step for step in range(steps)]
    rewards = [1.2 - 0.3 * math.exp(h) if law else float(step % 2) for step, h in enumerate(entropies)]
    return [{"step": n + 1, "entropy": h, "reward": r} for n, (h, r) in enumerate(zip(entropies, rewards, strict=True))]


def test_a_law_is_shown_with_its_r_squared_its_ceiling_and_how_far_the_run_is_from_it() -> None:
    shown = entropy_figure(logged(40))
    assert shown is not None
    assert "R = 1.2 - 0.3 exp(H) explains 100 %" in shown
    assert "R² = 1.00" in shown
    assert "predicts a reward of 0.9" in shown
    assert "below that" in shown
    assert shown.count("<circle") >= 40


@pytest.mark.parametrize("rows", [[], logged(5), logged(40, law=False), [{"step": 1, "reward": 0.5}]])
def test_a_fit_that_means_nothing_is_not_shown(rows: list[dict[str, Any]]) -> None:
    assert entropy_figure(rows) is None


def sampled(step: int, prompt: str, *values: float | None, level: Any = None) -> list[dict[str, Any]]:
    more = {} if level is None else {"level": level}
    scores = [{"exact": {"value": value}, "length": {"value": -9.0}} for value in values]
    return [{"step": step, "prompt": prompt, "rewards": score, **more} for score in scores]


def told(*rows: list[dict[str, Any]]) -> Difficulty:
    difficulty = Difficulty()
    for row in (one for part in rows for one in part):
        difficulty.add(row)
    return difficulty


def test_prompts_with_a_level_are_grouped_by_it_in_the_order_of_numbers() -> None:
    rows = [
        sampled(step, f"p{level}", 1.0, float(level < step), level=level) for step in (1, 2, 3) for level in (10, 2, 1)
    ]
    groups = told(*rows).groups()
    assert list(groups) == ["level 1", "level 2", "level 10"]
    assert groups["level 1"].points() == [(1, 0.5), (2, 1.0), (3, 1.0)]
    assert groups["level 10"].points() == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_without_levels_prompts_are_grouped_by_their_first_rollout_which_is_not_counted_again() -> None:
    rows = [
        sampled(1, "hard", 0.0, 0.0, 0.0, 0.0),
        sampled(1, "so-so", 1.0, 0.0, 0.0, 0.0),
        sampled(1, "good", 1.0, 1.0, 0.0, 0.0),
        sampled(1, "easy", 1.0, 1.0, 1.0, 1.0),
        *(sampled(step, name, 1.0, 0.0) for step in (2, 3) for name in ("hard", "so-so", "good", "easy")),
    ]
    groups = told(*rows).groups()
    assert list(groups) == [
        "never passed at first",
        "passed less than half at first",
        "passed half or more at first",
        "always passed at first",
    ]
    assert all(group.points() == [(2, 0.5), (3, 0.5)] for group in groups.values())
    shown = difficulty_table(told(*rows))
    assert shown is not None
    assert "is not counted again" in shown


def test_what_could_not_be_judged_is_left_out() -> None:
    groups = told(sampled(1, "p", None, 1.0, level=1), sampled(2, "p", None, None, level=1)).groups()
    assert groups["level 1"].points() == [(1, 1.0)]


def test_prompts_that_were_seen_once_show_nothing() -> None:
    assert difficulty_table(told(sampled(1, "a", 1.0), sampled(2, "b", 0.0))) is None
    assert difficulty_table(Difficulty()) is None
