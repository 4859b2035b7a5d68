"""The difference of two rates that were measured apart."""

from __future__ import annotations

import random

import pytest

from rlllm.evals.statistics.intervals import wilson
from rlllm.evals.statistics.two_proportions import rate_difference

NEWCOMBE = [  # his table II, method 10
    ((56, 70), (48, 80), (0.2000, 0.0524, 0.3339)),
    ((9, 10), (3, 10), (0.6000, 0.1705, 0.8090)),
    ((6, 7), (2, 7), (0.5714, 0.0582, 0.8062)),
    ((5, 56), (0, 29), (0.0893, -0.0381, 0.1926)),
    ((0, 10), (0, 20), (0.0, -0.1611, 0.2775)),
    ((10, 10), (0, 20), (1.0, 0.6791, 1.0)),
]


@pytest.mark.parametrize(("one", "other", "expected"), NEWCOMBE)
def test_the_interval_is_newcombes(
    one: tuple[int, int], other: tuple[int, int], expected: tuple[float, float, float]
) -> None:
    found = rate_difference(wilson(*one), wilson(*other)).interval
    assert (found.estimate, found.low, found.high) == pytest.approx(expected, abs=1e-4)


def test_two_equal_rates_are_found_apart_in_about_one_of_twenty_comparisons() -> None:
    generator = random.Random(0)
    apart = 0
    for _ in range(400):
        mine, theirs = (sum(generator.random() < 0.55 for _ in range(300)) for _ in range(2))
        apart += not rate_difference(wilson(mine, 300), wilson(theirs, 300)).consistent
    assert 8 <= apart <= 32


def test_the_detectable_difference_is_found_in_four_of_five() -> None:
    generator = random.Random(1)
    size = rate_difference(wilson(700, 1319), wilson(700, 1319)).detectable
    assert size == pytest.approx(0.054, abs=0.001)
    rate, found = 700 / 1319, 0
    for _ in range(300):
        mine = sum(generator.random() < rate + size for _ in range(1319))
        theirs = sum(generator.random() < rate for _ in range(1319))
        found += not rate_difference(wilson(mine, 1319), wilson(theirs, 1319)).consistent
    assert 0.73 <= found / 300 <= 0.87
