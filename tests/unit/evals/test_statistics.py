"""Intervals and tests against scipy, against literal values, and against simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlllm.core.errors import DataError
from rlllm.evals.statistics.intervals import Interval, bootstrap_mean, mean_interval, wilson, win_rate
from rlllm.evals.statistics.paired_tests import mcnemar_exact, paired_difference, sign_flip_p

UNIT_SCORES = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=12)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (411, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_equals_scipy(successes: int, n: int, confidence: float) -> None:
    ours = wilson(successes, n, confidence)
    theirs = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours.estimate == successes / n


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(DataError, match="proportion"):
        wilson(successes, n)


def test_bootstrap_of_many_items_equals_scipys_percentile_interval() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=400)
    ours = bootstrap_mean([[value] for value in values], seed=3)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=4).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_bootstrap_of_few_normal_items_is_as_wide_as_students_interval() -> None:
    values = np.random.default_rng(0).normal(size=12)
    ours = bootstrap_mean([[value] for value in values], resamples=40_000)
    theirs = stats.t.interval(0.95, 11, loc=values.mean(), scale=stats.sem(values))
    assert (ours.high - ours.low) / (theirs[1] - theirs[0]) == pytest.approx(1, abs=0.07)


def test_each_item_counts_once_however_often_it_was_sampled() -> None:
    assert bootstrap_mean([[1.0] * 30, [0.0], [0.5, 0.5]]).estimate == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_interval_and_another_seed_a_close_one() -> None:
    values = [[value] for value in np.random.default_rng(0).random(50)]
    assert bootstrap_mean(values, seed=5) == bootstrap_mean(values, seed=5)
    assert bootstrap_mean(values, seed=5).low == pytest.approx(bootstrap_mean(values, seed=6).low, abs=0.005)


@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_zero_one_items_fall_back_to_wilson(n: int, value: float) -> None:
    ours, theirs = bootstrap_mean([[value] * 4] * n), wilson(value * n, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert (ours.n, ours.method) == (n, "constant")


def test_constant_scores_of_an_unknown_range_have_an_unbounded_interval_that_json_can_carry() -> None:
    interval = bootstrap_mean([[3.5], [3.5]], bounds=None)
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert json.loads(json.dumps(interval.to_json(), allow_nan=False))["low"] is None


def test_plain_zero_one_items_get_wilsons_interval() -> None:
    assert mean_interval([[1.0], [0.0], [1.0, 1.0]]) == wilson(2, 3)


def test_means_that_happen_to_be_zero_or_one_are_no_proportion_where_scores_go_further() -> None:
    interval = mean_interval([[1.0, -1.0], [1.0, -1.0], [1.0, 1.0]], bounds=None)
    assert interval.method == "bootstrap"
    assert mean_interval([[1.0, -1.0]] * 3, bounds=None).low == -math.inf


@pytest.mark.parametrize("values", [[], [[]], [[1.0], []], [[math.nan]], [[math.inf, 1.0]]])
def test_missing_or_non_finite_scores_are_refused(values: list[list[float]]) -> None:
    with pytest.raises(DataError):
        bootstrap_mean(values)


@given(UNIT_SCORES)
@settings(max_examples=40, deadline=None)
def test_an_interval_of_unit_scores_holds_its_estimate_and_is_never_a_point(scores: list[list[float]]) -> None:
    interval = mean_interval(scores)
    assert interval.low <= interval.estimate + 1e-9
    assert interval.estimate <= interval.high + 1e-9
    if np.ptp([np.mean(values) for values in scores]) == 0:
        assert interval.high - interval.low > 0.05


@pytest.mark.parametrize(("items", "samples"), [(25, 1), (40, 8), (120, 4)])
def test_intervals_cover_the_truth_about_95_times_in_100(items: int, samples: int) -> None:
    generator, hits, datasets = np.random.default_rng(items), 0, 400
    for seed in range(datasets):
        chances = generator.beta(2, 3, size=items)
        scores = generator.binomial(1, chances[:, None], size=(items, samples)).astype(float)
        interval = bootstrap_mean(scores.tolist(), seed, resamples=800)
        hits += interval.low <= 0.4 <= interval.high
    assert 0.92 <= hits / datasets <= 0.98


def test_identical_runs_differ_by_zero_with_a_small_interval_and_p_one() -> None:
    result = paired_difference([0.0, 1.0, 0.5] * 40, [0.0, 1.0, 0.5] * 40)
    assert result.interval.estimate == 0
    assert -0.04 < result.interval.low < 0 < result.interval.high < 0.04
    assert result.p_value == 1


def test_pairing_finds_a_gain_that_separate_intervals_hide() -> None:
    before = np.linspace(0, 0.9, 60)
    after = before + np.where(np.arange(60) % 3 == 0, 0.1, 0.02)
    result = paired_difference(before.tolist(), after.tolist())
    assert result.interval.low > 0.03
    assert result.p_value < 0.001
    assert mean_interval(before[:, None].tolist()).high > mean_interval(after[:, None].tolist()).low


@pytest.mark.parametrize(("n", "tolerance"), [(4, 1e-12), (11, 1e-12), (60, 0.02)])
def test_sign_flip_p_equals_scipys_permutation_test(n: int, tolerance: float) -> None:
    differences = np.random.default_rng(n).normal(0.25, 1, size=n)
    theirs = stats.permutation_test(
        (differences, np.zeros(n)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=9_999, rng=1
    )
    assert sign_flip_p(differences.tolist()) == pytest.approx(theirs.pvalue, abs=tolerance)


def test_sign_flip_p_is_fair_under_the_null_and_never_zero() -> None:
    generator = np.random.default_rng(0)
    p_values = [sign_flip_p(generator.normal(size=20).tolist(), seed, resamples=400) for seed in range(300)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert sign_flip_p([1.0] * 200, resamples=999) == 0.001


def test_paired_difference_refuses_lists_of_different_lengths() -> None:
    with pytest.raises(DataError, match="same items"):
        paired_difference([1.0], [1.0, 0.0])


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (9, 2), (2, 9), (5, 5), (400, 330), (3000, 2900)])
def test_mcnemar_equals_the_binomial_test(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_exact(gained, lost) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("ours", "theirs", "rate"),
    [
        ([[1.0], [1.0], [0.0], [2.0]], [[0.0], [0.0], [1.0], [1.0]], 0.75),
        ([[1.0], [1.0]], [[1.0], [0.0]], 0.75),
        ([[1.0, 0.0]], [[0.5, 0.5]], 0.5),
        ([[1.0]], [[1.0]], 0.5),
    ],
)
def test_win_rate_counts_ties_half(ours: list[list[float]], theirs: list[list[float]], rate: float) -> None:
    interval = win_rate(ours, theirs)
    assert interval.estimate == rate
    assert 0 <= interval.low < rate < interval.high <= 1


def test_win_rate_refuses_what_cannot_be_ranked() -> None:
    with pytest.raises(DataError):
        win_rate([[math.nan]], [[1.0]])
    with pytest.raises(DataError, match="same items"):
        win_rate([[1.0]], [])


def test_an_interval_reads_as_text() -> None:
    assert Interval(0.4149, 0.355, 0.4609, 256, "wilson").format() == "0.41 [0.35, 0.46]"
    assert Interval(0.5, 0.25, 0.75, 8, "wilson").format(digits=3) == "0.500 [0.250, 0.750]"
