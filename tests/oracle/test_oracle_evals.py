"""Metrics and tests against brute force: every subset, every sign pattern, every resample."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from rlllm.evals.statistics.intervals import bootstrap_mean, pair_accuracy, win_rate
from rlllm.evals.statistics.paired_tests import sign_flip_p
from rlllm.evals.statistics.pass_estimators import pass_at_k, pass_interval


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(n: int) -> None:
    for passed, k in product(range(n + 1), range(1, n + 1)):
        outcomes = [1] * passed + [0] * (n - passed)
        subsets = list(combinations(outcomes, k))
        share = sum(any(subset) for subset in subsets) / len(subsets)
        assert pass_at_k(n, passed, k) == pytest.approx(share, abs=1e-12)


def test_pass_at_k_over_items_is_the_mean_of_the_items_shares() -> None:
    scores = [[1.0, 0.0, 0.0, 0.9], [0.0] * 4, [1.0] * 4, [1.0, 1.0, 0.0, 0.0]]
    per_item = [np.mean([max(subset) == 1.0 for subset in combinations(item, 2)]) for item in scores]
    assert pass_interval(scores, 2).estimate == pytest.approx(np.mean(per_item))


@pytest.mark.parametrize("differences", [[0.5], [1.0, -0.25], [0.1, 0.2, 0.3], [1, 1, 1, -1, 0, 0], [0.1] * 8 + [-0.1]])
def test_sign_flip_p_counts_every_sign_pattern(differences: list[float]) -> None:
    observed = abs(sum(differences))
    patterns = list(product((-1, 1), repeat=len(differences)))
    sums = [abs(sum(sign * value for sign, value in zip(pattern, differences, strict=True))) for pattern in patterns]
    share = sum(total >= observed - 1e-9 for total in sums) / len(patterns)
    assert sign_flip_p(differences) == pytest.approx(share, abs=1e-12)


def test_bootstrap_bounds_lie_among_the_quantiles_of_all_resamples() -> None:
    items = [0.0, 0.1, 0.35, 0.9, 1.0]
    every = sorted(np.mean(resample) for resample in product(items, repeat=len(items)))
    interval = bootstrap_mean([[value] for value in items], resamples=100_000)
    # At n = 5 the expansion cuts a tail of 0.094 % on each side.
    assert interval.low == pytest.approx(np.quantile(every, 0.00094), abs=0.015)
    assert interval.high == pytest.approx(np.quantile(every, 1 - 0.00094), abs=0.015)


def test_win_rate_and_pair_accuracy_count_every_comparison() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(0, 4, (30, 3)), generator.integers(0, 4, (30, 2))
    wins = [(a > b) + 0.5 * (a == b) for mine, other in zip(ours, theirs, strict=True) for a in mine for b in other]
    assert win_rate(ours.tolist(), theirs.tolist()).estimate == pytest.approx(np.mean(wins))
    pairs = [(a > b) + 0.5 * (a == b) for a, b in zip(ours[:, 0], theirs[:, 0], strict=True)]
    assert pair_accuracy(ours[:, 0].tolist(), theirs[:, 0].tolist()).estimate == pytest.approx(np.mean(pairs))
