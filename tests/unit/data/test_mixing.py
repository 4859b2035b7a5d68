"""Counts of a mixture are exact, its choice follows from the seed, and what cannot be had is an error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, DataError
from rlllm.data.prepare.mixing import by_curriculum, counts, draw, largest_remainder, shares
from rlllm.data.prepare.settings import Mixture


@pytest.mark.parametrize(
    ("sizes", "settings", "expected"),
    [
        ([30, 10], {}, [30, 10]),
        ([30, 10], {"rows": 20}, [15, 5]),
        ([30, 10], {"weights": [1, 1]}, [10, 10]),
        ([30, 10], {"weights": [2, 1], "rows": 30}, [20, 10]),
        ([30, 10], {"weights": [2, 1], "rows": 36}, [26, 10]),
        ([10, 10, 10], {"weights": [1, 1, 1], "rows": 10}, [4, 3, 3]),
        ([30, 10], {"weights": [0, 1]}, [0, 10]),
        ([100, 1], {"temperature": 2.0, "rows": 11}, [10, 1]),
        ([30, 10], {"epochs": 2}, [60, 20]),
        ([30, 10], {"weights": [1, 1], "epochs": 3}, [30, 30]),
        ([5, 0], {}, [5, 0]),
    ],
)
def test_counts_of_a_mixture(sizes: list[int], settings: dict[str, object], expected: list[int]) -> None:
    assert counts(sizes, Mixture(**settings)) == expected


def test_a_temperature_flattens_the_shares_of_sizes() -> None:
    assert shares([100, 1], Mixture(temperature=2.0)) == pytest.approx([10 / 11, 1 / 11])
    assert shares([100, 1], Mixture(temperature=1e9)) == pytest.approx([0.5, 0.5])
    assert shares([100, 0], Mixture(temperature=2.0)) == [1.0, 0.0]


@given(
    st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 200)), min_size=1, max_size=6),
    st.integers(1, 500),
)
def test_the_largest_remainder_adds_up_and_stays_within_its_bounds(parts: list[tuple[float, int]], total: int) -> None:
    weights, most = zip(*parts, strict=True)
    taken = largest_remainder([weight / sum(weights) for weight in weights], total, most)
    assert sum(taken) == min(total, sum(most))
    assert all(0 <= count <= cap for count, cap in zip(taken, most, strict=True))
    if all(cap >= total for cap in most):
        assert all(abs(n - total * w / sum(weights)) < 1 + 1e-6 for n, w in zip(taken, weights, strict=True))


def sources(*sizes: int) -> list[np.ndarray]:
    ends = np.cumsum(sizes)
    return [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def test_the_seed_decides_and_no_row_repeats_before_all_were_taken() -> None:
    one = draw(sources(10, 4), Mixture(weights=[1, 2], rows=15, epochs=3, seed=1))
    assert one.tolist() == draw(sources(10, 4), Mixture(weights=[1, 2], rows=15, epochs=3, seed=1)).tolist()
    assert one.tolist() != draw(sources(10, 4), Mixture(weights=[1, 2], rows=15, epochs=3, seed=2)).tolist()
    times = np.bincount(one, minlength=14)
    assert times[:10].max() == 1
    assert sorted(times[10:].tolist()) == [2, 2, 3, 3]


def test_a_single_source_keeps_its_order() -> None:
    assert draw(sources(6), Mixture()).tolist() == [0, 1, 2, 3, 4, 5]
    chosen = draw(sources(100), Mixture(rows=10)).tolist()
    assert chosen == sorted(chosen)


def test_fractions_take_a_share_of_a_source_and_all_of_the_others() -> None:
    chosen = draw(sources(10, 4), Mixture(fractions=[0.3, 1.0])).tolist()
    assert sorted(row for row in chosen if row >= 10) == [10, 11, 12, 13]
    assert len(chosen) == 7
    assert chosen == draw(sources(10, 4), Mixture(fractions=[0.3, 1.0])).tolist()
    assert chosen != draw(sources(10, 4), Mixture(fractions=[0.3, 1.0], seed=1)).tolist()


def test_limits_take_the_first_rows_of_a_source() -> None:
    assert sorted(draw(sources(6, 6), Mixture(limits=[2, None])).tolist()) == [0, 1, 6, 7, 8, 9, 10, 11]


def test_a_curriculum_sorts_and_keeps_the_order_of_equals() -> None:
    assert by_curriculum(np.array([3, 1, 2, 0]), np.array([2.0, 1.0, 1.0, 1.0])).tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize(
    ("sizes", "settings", "words"),
    [
        ([3, 3], {"rows": 7}, "wants 7 rows, its sources give 6"),
        ([3, 0], {"weights": [1, 1]}, "source 2 of the mixture has weight and no rows"),
        ([0], {}, "no rows"),
    ],
)
def test_what_cannot_be_had_is_an_error(sizes: list[int], settings: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        counts(sizes, Mixture(**settings))


@pytest.mark.parametrize(
    "values",
    [
        {"weights": "2,x"},
        {"weights": [0, 0]},
        {"weights": [-1, 2]},
        {"weights": [float("nan"), 1]},
        {"weights": [1], "temperature": 2},
        {"temperature": 0},
        {"rows": 0},
        {"limits": [-1]},
        {"fractions": [0.0]},
        {"fractions": [1.5]},
    ],
)
def test_settings_that_mean_nothing_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Mixture.checked(values)
    with pytest.raises(ConfigError, match="2 weights for 3 sources"):
        Mixture(weights=[1, 2]).check_sources(3)
