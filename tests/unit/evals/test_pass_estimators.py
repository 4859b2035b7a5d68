"""Metrics of one evaluation: literal values, limits and refusals. Brute-force checks are in tests/oracle."""

from __future__ import annotations

import math

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.evals.statistics.intervals import pair_accuracy
from rlllm.evals.statistics.pass_estimators import average_interval, pass_at_k, pass_interval, sampled_metrics


@pytest.mark.parametrize(
    ("n", "passed", "k", "expected"),
    [(1, 0, 1, 0.0), (1, 1, 1, 1.0), (8, 2, 1, 0.25), (8, 2, 8, 1.0), (10, 3, 5, 11 / 12), (4, 0, 4, 0.0)],
)
def test_pass_at_k_of_known_counts(n: int, passed: int, k: int, expected: float) -> None:
    assert pass_at_k(n, passed, k) == pytest.approx(expected)


def test_pass_at_k_of_many_samples_neither_overflows_nor_cancels() -> None:
    assert pass_at_k(100_000, 1, 10) == pytest.approx(1e-4)


def test_more_k_than_samples_is_refused_with_the_number_that_would_work() -> None:
    with pytest.raises(ConfigError, match="pass@8 needs at least 8") as caught:
        pass_at_k(4, 2, 8)
    assert caught.value.hint == "set samples=8 or more"


@pytest.mark.parametrize(("n", "passed", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0)])
def test_impossible_counts_are_refused(n: int, passed: int, k: int) -> None:
    with pytest.raises(ConfigError):
        pass_at_k(n, passed, k)


def test_a_completion_passes_at_the_threshold_and_partial_credit_counts_in_the_average_only() -> None:
    scores = [[1.0, 0.5], [0.5, 0.0]]
    assert pass_interval(scores, 1).estimate == 0.25
    assert pass_interval(scores, 1, threshold=0.5).estimate == 0.75
    assert average_interval(scores).estimate == 0.5


def test_sampled_metrics_reports_pass_at_one_the_average_and_the_largest_k_by_default() -> None:
    values = sampled_metrics([[1.0, 0.0, 0.0, 0.0], [1.0] * 4, [0.0] * 4])
    assert {name: round(value.estimate, 4) for name, value in values.items()} == {
        "pass@1": 0.4167,
        "avg@4": 0.4167,
        "pass@4": 0.6667,
    }
    assert values["pass@4"].method == "wilson"
    assert all(value.n == 3 for value in values.values())


def test_sampled_metrics_of_one_sample_is_a_plain_proportion() -> None:
    values = sampled_metrics([[1.0], [0.0]])
    assert list(values) == ["pass@1", "avg@1"]
    assert values["pass@1"].method == "wilson"


def test_asked_for_k_are_reported_in_order() -> None:
    assert list(sampled_metrics([[1.0] * 8], ks=(4, 2))) == ["pass@1", "avg@8", "pass@2", "pass@4"]


def test_no_items_and_unjudged_items_are_refused() -> None:
    with pytest.raises(DataError):
        sampled_metrics([])
    with pytest.raises(DataError):
        average_interval([[math.nan]])


@pytest.mark.parametrize(
    ("chosen", "rejected", "accuracy"), [([2.0, 1.0], [1.0, 2.0], 0.5), ([3.0], [3.0], 0.5), ([1, 2, 3], [0, 0, 0], 1)]
)
def test_pair_accuracy_counts_a_tie_half(chosen: list[float], rejected: list[float], accuracy: float) -> None:
    assert pair_accuracy(chosen, rejected).estimate == accuracy


def test_pair_accuracy_refuses_lists_of_different_lengths_and_nan() -> None:
    with pytest.raises(DataError, match="as many chosen"):
        pair_accuracy([1.0], [])
    with pytest.raises(DataError):
        pair_accuracy([math.nan], [1.0])
