"""Metrics of an evaluation: first a number for each item, then their mean with an interval over items.

Scores are finite numbers, one for each completion; what a reward could not judge was left out and counted before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlllm.core.errors import ConfigError, DataError
from rlllm.evals.statistics import Bounds, Interval, mean_interval, preference

Scores = Sequence[Sequence[float]]
"""For each item, the scores of its completions."""


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Unbiased probability that at least one of `k` completions passes, seen `passed` of `n`.

    The product form of 1 - C(n - passed, k) / C(n, k), which neither overflows nor cancels.

    Raises:
        ConfigError: fewer than `k` completions were sampled, or the counts are impossible.

    Source: Chen et al. 2021, arXiv:2107.03374, equation 1.
    """
    if k > n:
        raise ConfigError(
            f"pass@{k} needs at least {k} completions of each item",
            given=f"samples={n}",
            hint=f"set samples={k} or more",
        )
    if k < 1 or not 0 <= passed <= n:
        raise ConfigError("pass@k needs k >= 1 and 0 <= passed <= n", given=f"n={n}, passed={passed}, k={k}")
    if n - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / count for count in range(n - passed + 1, n + 1))


def pass_at_k_per_item(scores: Scores, k: int, threshold: float = 1.0) -> list[float]:
    """`pass_at_k` of every item; a completion passes when its score is at least `threshold`."""
    return [pass_at_k(len(values), sum(value >= threshold for value in values), k) for values in scores]


def pass_interval(scores: Scores, k: int, *, threshold: float = 1.0, seed: int = 0) -> Interval:
    """Unbiased pass@k over all items, in [0, 1]."""
    return mean_interval([[value] for value in pass_at_k_per_item(scores, k, threshold)], seed)


def average_interval(scores: Scores, *, seed: int = 0) -> Interval:
    """avg@k: the mean score of an item's k completions, averaged over items; partial credit counts."""
    return mean_interval(scores, seed, bounds=score_bounds(scores))


def sampled_metrics(
    scores: Scores, ks: Sequence[int] = (), *, threshold: float = 1.0, seed: int = 0
) -> dict[str, Interval]:
    """What is reported for sampled completions: `pass@1`, `avg@n`, and `pass@k` for every k.

    Args:
        scores: for each item the scores of its n completions.
        ks: which pass@k besides pass@1; by default the largest that the samples allow.

    Raises:
        ConfigError: a k is larger than the number of completions of some item.
        DataError: no items, or an item without a finite score.
    """
    if not scores:
        raise DataError("no items to evaluate")
    samples = min(len(values) for values in scores)
    values = {"pass@1": pass_interval(scores, 1, threshold=threshold, seed=seed)}
    values[f"avg@{samples}"] = average_interval(scores, seed=seed)
    for k in sorted({*(ks or (samples,))} - {1}):
        values[f"pass@{k}"] = pass_interval(scores, k, threshold=threshold, seed=seed)
    return values


def pair_accuracy(chosen: Sequence[float], rejected: Sequence[float], *, seed: int = 0) -> Interval:
    """Share of pairs whose chosen completion scores higher; a tie counts half, so a constant model gets 0.5.

    Raises:
        DataError: no pairs, different lengths, or a score that is not finite.
    """
    if len(chosen) != len(rejected):
        raise DataError(
            "pair accuracy needs as many chosen as rejected scores", given=f"{len(chosen)}, {len(rejected)}"
        )
    return mean_interval([[preference(a, b)] for a, b in zip(chosen, rejected, strict=True)], seed)


def score_bounds(*tables: Scores) -> Bounds | None:
    """(0, 1) if every score lies there, else None: the range of such a score is not known."""
    inside = all(0.0 <= value <= 1.0 for table in tables for values in table for value in values)
    return (0.0, 1.0) if inside else None
