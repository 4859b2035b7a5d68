"""pass@k, pass^k, avg@k and tokens per correct answer: a number for each item, then their mean with an interval over items.

Scores are finite numbers, one for each completion; what a reward could not judge was left out and counted before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import ConfigError, DataError
from rlllm.evals.statistics.intervals import (
    UNIT,
    Interval,
    all_equal,
    constant,
    mean_interval,
    resampled_sums,
    score_bounds,
)

if TYPE_CHECKING:
    from numpy import ndarray

_Scores = Sequence[Sequence[float]]
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


def pass_table(counts: Sequence[tuple[int, int]], ks: Sequence[int]) -> ndarray:
    """`pass_at_k` of every item (N) and k (K), as a table (N, K).

    Args:
        counts: for each item how many completions were sampled and how many of them passed.
        ks: numbers of attempts, each from 1 to the smallest number of samples.
    """
    return 1.0 - all_pass_table([(n, n - passed) for n, passed in counts], ks)


def all_pass_table(counts: Sequence[tuple[int, int]], ks: Sequence[int]) -> ndarray:
    """pass^k of every item and k, as a table (N, K): unbiased probability that all of k completions pass.

    C(passed, k) / C(n, k), as a running product. Arguments as in `pass_table`.

    Raises:
        ConfigError: a k is below 1 or above the number of samples of some item.

    Source: Yao et al. 2024 (tau-bench), arXiv:2406.12045, section 4.
    """
    import numpy as np

    fewest = min(n for n, _ in counts)
    if min(ks) < 1 or max(ks) > fewest:
        raise ConfigError(f"k runs from 1 to {fewest}, the samples of an item", given=list(ks)[:8])
    taken = np.arange(max(ks))
    sampled, passed = np.asarray(counts, dtype=float).T[:, :, None]
    return np.clip((passed - taken) / (sampled - taken), 0.0, 1.0).cumprod(axis=1)[:, np.asarray(ks) - 1]


def doubling(n: int) -> list[int]:
    """1, 2, 4, ... and n itself: the ks of a curve."""
    return [*(2**power for power in range((n - 1).bit_length())), n]


def curve(table: ndarray, ks: Sequence[int], *, seed: int = 0) -> list[dict[str, Any]]:
    """The mean over items at each k, as rows `{"k", "estimate", "low", "high"}`. `table` (N, K) has values in [0, 1]."""
    rows = []
    for k, column in zip(ks, table.T, strict=True):
        interval = mean_interval([[value] for value in column.tolist()], seed)
        rows.append({"k": k, "estimate": interval.estimate, "low": interval.low, "high": interval.high})
    return rows


def cost_per_success(costs: Sequence[float], successes: Sequence[float], *, seed: int = 0) -> Interval | None:
    """What one success costs: the sum of costs over the sum of successes, such as tokens for each correct answer.

    The interval is a percentile bootstrap over items. Without any success there is no such number, and with few a draw of
    the items can be without: the upper end is then infinite. Of items that are all alike nothing is known of either end.

    Args:
        costs, successes: their sums over the completions of each item, in the same order.
    """
    import numpy as np

    if not sum(successes):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = resampled_sums(np.array([costs, successes], dtype=float).T, seed)
        ratios = np.nan_to_num(sums[:, 0] / sums[:, 1], nan=math.inf, posinf=math.inf)
    if np.allclose(ratios, ratios[0]):
        return constant(sum(costs) / sum(successes), len(costs), None)
    low, high = np.quantile(ratios, [0.025, 0.975], method="nearest")
    return Interval(sum(costs) / sum(successes), float(low), float(high), len(costs), "bootstrap")


def success_rate(successes: Sequence[float], attempts: Sequence[float], *, seed: int = 0) -> Interval | None:
    """Successes over attempts where items differ in how often they attempt, such as right answers among those given.

    The interval is a percentile bootstrap over items, within [0, 1]. Where resampling says nothing, since every item with an
    attempt has the same rate, it is that of a mean of as many items (see `intervals.bootstrap_mean`). None without an attempt.

    Args:
        successes, attempts: their sums over the completions of each item, in the same order; no more successes than attempts.
    """
    tried = [(won, total) for won, total in zip(successes, attempts, strict=True) if total]
    if not tried:
        return None
    estimate = math.fsum(won for won, _ in tried) / math.fsum(total for _, total in tried)
    rates = [won / total for won, total in tried]
    if all_equal(rates):
        return constant(estimate, len(tried), UNIT)
    import numpy as np

    sums = resampled_sums(np.array(tried, dtype=float), seed)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    return Interval(estimate, float(low), float(high), len(tried), "bootstrap")


def _pass_at_k_per_item(scores: _Scores, k: int, threshold: float = 1.0) -> list[float]:
    """`pass_at_k` of every item; a completion passes when its score is at least `threshold`."""
    return [pass_at_k(len(values), sum(value >= threshold for value in values), k) for values in scores]


def pass_interval(scores: _Scores, k: int, *, threshold: float = 1.0, seed: int = 0) -> Interval:
    """Unbiased pass@k over all items, in [0, 1]."""
    return mean_interval([[value] for value in _pass_at_k_per_item(scores, k, threshold)], seed)


def average_interval(scores: _Scores, *, seed: int = 0) -> Interval:
    """avg@k: the mean score of an item's k completions, averaged over items; partial advantage counts."""
    return mean_interval(scores, seed, bounds=score_bounds(scores))


def sampled_metrics(
    scores: _Scores, ks: Sequence[int] = (), *, threshold: float = 1.0, seed: int = 0
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
