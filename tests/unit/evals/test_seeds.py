"""Intervals over seeds: Student's t against SciPy, the bootstrap of seeds and problems against what it should cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlllm.core.errors import DataError
from rlllm.evals.statistics.seeds import crossed_bootstrap, t_interval


@pytest.mark.parametrize("values", [[0.1, 0.3], [0.21, 0.18, 0.25, 0.2, 0.19], [-1.0, 0.0, 4.0]])
def test_the_t_interval_is_scipys(values: list[float]) -> None:
    found = t_interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.estimate, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert found.n == len(values)


def test_the_interval_of_a_rate_is_that_of_its_logit() -> None:
    values = [0.0, 0.1, 0.3]
    found = t_interval(values, bounds=(0.0, 1.0))
    mean, error = np.mean(values), stats.sem(values)
    half = stats.t.ppf(0.975, 2) * error / (mean * (1 - mean))
    low, high = (1 / (1 + math.exp(-(math.log(mean / (1 - mean)) + sign * half))) for sign in (-1, 1))
    assert (found.estimate, found.low, found.high) == pytest.approx((mean, low, high))
    assert t_interval(values).low < 0 < found.low


@given(st.lists(st.floats(-2, 3), min_size=2, max_size=6))
def test_the_interval_of_a_bounded_value_lies_inside_of_its_bounds(values: list[float]) -> None:
    found, plain = t_interval(values, bounds=(-2.0, 3.0)), t_interval(values)
    assert found.estimate == plain.estimate
    if math.isfinite(plain.low):
        assert -2 <= found.low <= found.estimate <= found.high <= 3


def test_close_to_the_middle_the_bounds_change_little() -> None:
    values = [0.49, 0.5, 0.51]
    found, plain = t_interval(values, bounds=(0.0, 1.0)), t_interval(values)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=1e-4)


def test_a_value_outside_of_its_bounds_is_an_error() -> None:
    with pytest.raises(DataError, match="outside of 0 to 1"):
        t_interval([0.5, 1.2], bounds=(0.0, 1.0))


@pytest.mark.parametrize("values", [[0.2], [0.2, 0.2, 0.2]])
def test_values_without_spread_say_nothing_about_another_seed(values: list[float]) -> None:
    found = t_interval(values)
    assert (found.low, found.high) == (-math.inf, math.inf)


@pytest.mark.parametrize("values", [[], [0.1, math.nan]])
def test_no_values_or_one_that_is_no_number_is_an_error(values: list[float]) -> None:
    with pytest.raises(DataError):
        t_interval(values)


def test_seeds_that_agree_on_problems_that_differ_are_as_sure_as_the_problems() -> None:
    row = np.linspace(0, 1, 64).tolist()
    found = crossed_bootstrap([row] * 5)
    half = 1.96 * np.std(row) / math.sqrt(len(row))
    assert found.estimate == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.01)


def test_problems_that_agree_on_seeds_that_differ_are_as_sure_as_the_seeds() -> None:
    seeds = np.linspace(0, 1, 32)
    found = crossed_bootstrap([[value] * 16 for value in seeds])
    half = 1.96 * seeds.std() / math.sqrt(len(seeds))
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.02)


def test_the_same_table_and_seed_give_the_same_interval() -> None:
    table = np.random.default_rng(1).random((3, 20)).tolist()
    assert crossed_bootstrap(table, 7) == crossed_bootstrap(table, 7)


@pytest.mark.parametrize("table", [[], [[]], [[0.1, 0.2], [0.1]], [[0.1], [math.inf]]])
def test_what_is_no_table_of_numbers_is_an_error(table: list[list[float]]) -> None:
    with pytest.raises(DataError):
        crossed_bootstrap(table)
