"""The statistical comparison of a claim and its repetition, on numbers made by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.tools.claims.agreement import NOT_REPRODUCED, REPRODUCED, UNDECIDED, agreement, margin_of, power


def rates(problems: int, shift: float, seed: int, samples: int = 4) -> list[float]:
    """Pass rates of problems with one chance each, shifted."""
    chances = np.clip(np.random.default_rng(0).beta(0.6, 0.6, problems) + shift, 0, 1)
    return [float(value) for value in np.random.default_rng(seed).binomial(samples, chances) / samples]


@pytest.mark.parametrize(
    ("problems", "shift", "margin", "verdict"),
    [
        (256, 0.0, 0.15, REPRODUCED),
        (256, 0.0, 0.02, UNDECIDED),
        (16, 0.0, 0.15, UNDECIDED),
        (256, -0.4, 0.15, NOT_REPRODUCED),
        (256, 0.4, 0.15, NOT_REPRODUCED),
    ],
)
def test_verdicts(problems: int, shift: float, margin: float, verdict: str) -> None:
    found = agreement(rates(problems, 0.0, 1), rates(problems, shift, 2), margin)
    assert found.verdict == verdict
    assert found.problems == problems
    assert (found.smallest_margin < margin) == (found.power > 0.8)


def test_runs_without_a_difference_agree_as_often_as_the_power_says() -> None:
    found = [agreement(rates(128, 0.0, 2 * trial), rates(128, 0.0, 2 * trial + 1), 0.06) for trial in range(1, 201)]
    said = float(np.mean([one.power for one in found]))
    held = float(np.mean([one.verdict == REPRODUCED for one in found]))
    assert 0.5 < said < 0.95
    assert abs(said - held) < 0.12


def test_runs_that_differ_by_the_margin_rarely_agree() -> None:
    """At most 2.5 % err on each side."""
    base = np.random.default_rng(3).normal(0, 1, (100, 60))
    agree = [
        agreement(list(row), list(row + 0.3 + np.random.default_rng(at).normal(0, 1, 60)), 0.3).verdict
        for at, row in enumerate(base)
    ]
    assert agree.count(REPRODUCED) / len(agree) < 0.08


def test_problems_without_a_score_are_left_out() -> None:
    claimed: list[float | None] = [0.25, None, 0.5, 1.0]
    assert agreement(claimed, [0.25, 0.5, None, 0.75], 0.9).problems == 2


def test_power_is_that_of_a_normal_estimate() -> None:
    draws = np.random.default_rng(0).normal(0, 0.02, 200_000)
    inside = np.abs(draws) + 1.959964 * 0.02 < 0.06
    assert power(0.06, 0.02) == pytest.approx(inside.mean(), abs=0.005)
    assert power(0.01, 0.02) == 0.0
    assert power(0.01, 0.0) == 1.0


@pytest.mark.parametrize(
    ("change", "margin"),
    [
        ({"estimate": 0.3, "low": 0.26, "high": 0.34}, 0.15),
        ({"estimate": -0.2, "low": -0.3, "high": -0.1}, 0.1),
        ({"estimate": 0.01, "low": -0.05, "high": 0.07}, 0.07),
        ({"estimate": 0.01, "low": None, "high": None}, 0.0),
        (None, 0.0),
    ],
)
def test_the_margin_is_half_of_a_change_or_the_far_end_of_none(change: dict[str, float] | None, margin: float) -> None:
    assert margin_of({"difference": change}) == pytest.approx(margin)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        agreement([0.5], [0.5], 0.0)
    with pytest.raises(DataError, match="other problems"):
        agreement([0.5], [0.5, 0.5], 0.1)
