"""Predictions from the Dirichlet-multinomial over prompts hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from rlllm.core.errors import DataError
from rlllm.evals.statistics.prompt_chances import PromptChances


def drawn(random: np.random.Generator, chances: np.ndarray, size: int) -> list[list[float]]:
    return [[float(value) for value in random.random(size) < chance] for chance in chances]


def test_the_intervals_of_unseen_prompts_hold_four_fifths_of_what_comes() -> None:
    random, mixed, means, runs = np.random.default_rng(0), 0, 0, 60
    for run in range(runs):
        size, groups = int(random.choice([2, 4, 8])), 12
        chances = random.beta(random.choice([0.2, 1, 3]), random.choice([0.5, 2, 5]), size=32 + groups)
        future = drawn(random, chances[32:], size)
        predicted = PromptChances(drawn(random, chances[:32], size), 10_000).predict(size, groups, run)
        share = np.mean([0 < sum(group) < size for group in future])
        mixed += predicted.mixed.low - 1e-9 <= share <= predicted.mixed.high + 1e-9
        means += predicted.mean.low - 1e-9 <= np.mean(future) <= predicted.mean.high + 1e-9
    assert 0.7 <= mixed / runs <= 0.97
    assert 0.65 <= means / runs <= 0.95


def test_larger_groups_are_mixed_more_often_as_the_chances_say() -> None:
    random = np.random.default_rng(1)
    seen = PromptChances(drawn(random, random.beta(2, 3, size=400), 8), 100_000)
    shares = [seen.predict(size, 256).mixed.estimate for size in (2, 4, 8)]
    expected = []
    for size in (2, 4, 8):  # 1 - E[p^G] - E[(1-p)^G] of Beta(2, 3)
        right = np.prod([(2 + k) / (5 + k) for k in range(size)])
        wrong = np.prod([(3 + k) / (5 + k) for k in range(size)])
        expected.append(1 - right - wrong)
    assert shares == pytest.approx(expected, abs=0.03)


def test_where_all_outcomes_are_alike_a_rare_other_one_is_still_possible() -> None:
    few, many = (PromptChances([[0.0] * 8] * prompts, 10_000).predict(8, 100).mixed for prompts in (4, 128))
    assert 0 < many.high <= 0.02 < few.high


def test_prompts_that_are_alike_leave_nothing_between_them_and_others_leave_much() -> None:
    random = np.random.default_rng(2)
    alike = PromptChances(drawn(random, np.full(200, 0.4), 8), 10_000)
    apart = PromptChances(drawn(random, random.choice([0.02, 0.98], size=200), 8), 10_000)
    assert alike.between < 0.1
    assert apart.between > 0.7
    hard, easy = apart.flat_share(8, least=0.3)
    assert (hard > 0.2, easy > 0.2, alike.flat_share(8)) == (True, True, (0.0, 0.0))


def test_more_than_two_rewards_are_one_outcome_each() -> None:
    seen = PromptChances([[0.0, 0.1, 1.0, 1.1], [0.1, 0.1, 1.1, 0.0]], 10)
    assert seen.outcomes == [0.0, 0.1, 1.0, 1.1]
    assert seen.predict(8, 10).mixed.low == 1.0


def test_nothing_seen_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one prompt"):
        PromptChances([], 10)
