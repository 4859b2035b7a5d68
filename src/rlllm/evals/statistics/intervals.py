"""Intervals of means, rates and win rates. p-values are in `paired_tests`.

The unit is the item (the problem), never the completion: eight completions of one problem are not eight independent
observations, so every resampling draws items. All functions are deterministic: randomness comes from `seed`. numpy and
scipy are imported inside functions. How often each interval holds the truth is simulated in
tests/unit/evals/test_coverage_by_simulation.py and listed in docs/concepts/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import DataError
from rlllm.core.interval_text import interval_text

if TYPE_CHECKING:
    from numpy import ndarray

Bounds = tuple[float, float]
UNIT: Bounds = (0.0, 1.0)
RESAMPLES = 10_000
_BLOCK = 2_000_000
"""Random numbers drawn at a time, so that many items do not take gigabytes."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the interval that carries `confidence` (95 % unless asked otherwise)."""

    estimate: float
    low: float
    high: float
    n: int
    """Items behind it."""
    method: str
    """How it was made, such as `wilson`, `bootstrap`, or `constant` where all items had one value."""

    def to_json(self) -> dict[str, Any]:
        """The fields; a bound that is not known (infinite) becomes None, which every JSON reader accepts."""
        fields = asdict(self)
        return {**fields, **{end: fields[end] if math.isfinite(fields[end]) else None for end in ("low", "high")}}

    def format(self, digits: int = 2) -> str:
        """As text, `0.41 [0.36, 0.46]`."""
        return interval_text(self.to_json(), f".{digits}f")


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; never a point, never outside [0, 1].

    Args:
        successes: how many of `n`; half counts (ties) are allowed.
        n: independent trials, at least 1.

    Raises:
        DataError: no trials, or more successes than trials.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927), 209.
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError("a proportion needs 0 <= successes <= n and n >= 1", given=f"{successes} of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    low, high = _score_ends(share, n, z)
    return Interval(share, 0.0 if successes == 0 else low, 1.0 if successes == n else high, n, "wilson")


def _score_ends(share: float, n: float, z: float) -> Bounds:
    """Where |share - p| = z sqrt(p (1 - p) / n)."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def bootstrap_mean(
    values_per_item: Sequence[Sequence[float]],
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    bounds: Bounds | None = UNIT,
) -> Interval:
    """Mean of the item means, with a bootstrap interval over items (each item counts once, however often sampled).

    Percentile interval with Hesterberg's small-sample expansion: the quantiles are widened so that a normal sample
    would get Student's interval; without it 10 items cover 92 % instead of 95 %.

    If all items have the same mean (or there is one item) resampling says nothing. Then the interval allows that a
    share of items as large as Wilson's upper bound for 0 of n is different, by as much as `bounds` allow. For 0/1
    values this is Wilson's interval. Without bounds, or with values outside of them, it is infinite: nothing is known.

    Args:
        values_per_item: one sequence of finite numbers for each item, at least one number each; lengths may differ.
        bounds: smallest and largest value that could have been seen; used in the constant case only.

    Raises:
        DataError: no items, an item without values, or a value that is not finite.

    Source: Hesterberg, Am. Stat. 69 (2015), 371, section 4.3.
    """
    return bootstrap_of_means(item_means(values_per_item), seed, resamples, confidence, bounds)


def mean_interval(
    values_per_item: Sequence[Sequence[float]],
    seed: int = 0,
    *,
    confidence: float = 0.95,
    bounds: Bounds | None = UNIT,
) -> Interval:
    """Wilson's interval where items lie in [0, 1], else `bootstrap_mean`; arguments and errors as there.

    Items that are plainly 0 or 1 get `wilson`, other items between 0 and 1 `clustered_wilson`.
    """
    means = item_means(values_per_item)
    if bounds == UNIT and all(mean in (0.0, 1.0) for mean in means):
        return wilson(sum(means), len(means), confidence)
    if bounds == UNIT and all(0.0 <= mean <= 1.0 for mean in means) and not all_equal(means):
        return clustered_wilson(means, confidence)
    return bootstrap_of_means(means, seed, RESAMPLES, confidence, bounds)


def clustered_wilson(means: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of item means in [0, 1]: Wilson's interval with the number of trials that the spread of the items is worth.

    n items of variance s^2 say as much as n p (1 - p) / s^2 independent trials: n where every item is all or nothing, more
    where items differ less than that. Student's quantile with n - 1 degrees of freedom replaces the normal one. One more
    item that is all or nothing is counted into s^2, because a few items that were never solved hide how far items can
    differ. The percentile bootstrap in its place covers 90 % with 20 items of which one completion in ten passes.

    Args:
        means: one number in [0, 1] for each item, at least two, not all equal.

    Source: the effective sample size of Korn & Graubard, Survey Methodology 24 (1998), 193, in Wilson's interval, as compared
    by Franco et al., J. Surv. Stat. Methodol. 7 (2019), 334. The additional item is ours.
    """
    from scipy.special import stdtrit

    n, p = len(means), math.fsum(means) / len(means)
    quantile = -float(stdtrit(n - 1, (1 - confidence) / 2))
    centre = (n * p + quantile**2 / 2) / (n + quantile**2)
    squares = math.fsum((mean - p) ** 2 for mean in means)
    variance = (squares + centre * (1 - centre)) / n
    low, high = _score_ends(p, max(n, n * p * (1 - p) / variance), quantile)
    return Interval(p, low, high, n, "wilson, clustered")


def win_rate(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], seed: int = 0, *, confidence: float = 0.95
) -> Interval:
    """Share of comparisons won, ties counted half: within an item every score of ours meets every score of theirs.

    Args:
        ours, theirs: for each item the scores of its completions; same items in the same order.

    Raises:
        DataError: no items, different items, or an item without scores.
    """
    if len(ours) != len(theirs):
        raise DataError("a win rate needs the same items on both sides", given=f"{len(ours)} against {len(theirs)}")
    outcomes = [[preference(a, b) for a in mine for b in other] for mine, other in zip(ours, theirs, strict=True)]
    return mean_interval(outcomes, seed, confidence=confidence)


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


def preference(score: float, other: float) -> float:
    """1 if `score` is higher, 0 if lower, 0.5 if equal; NaN, which no one can rank, stays NaN."""
    if math.isnan(score) or math.isnan(other):
        return math.nan
    return 0.5 if score == other else float(score > other)


def score_bounds(*tables: Sequence[Sequence[float]]) -> Bounds | None:
    """(0, 1) if every score lies there, else None: the range of such a score is not known."""
    inside = all(0.0 <= value <= 1.0 for table in tables for values in table for value in values)
    return UNIT if inside else None


def item_means(values_per_item: Sequence[Sequence[float]]) -> list[float]:
    """Mean of each item's values. Raises DataError for no items, an empty item, or a value that is not finite."""
    if not values_per_item:
        raise DataError("no items to average over")
    for position, values in enumerate(values_per_item):
        if not len(values) or not all(math.isfinite(value) for value in values):
            raise DataError(
                "an item has no score, or one that is not finite",
                given=f"item {position}: {list(values)[:8]}",
                hint="leave out and count what the reward could not judge; it is not a 0",
            )
    return [math.fsum(values) / len(values) for values in values_per_item]


def all_equal(means: Sequence[float]) -> bool:
    """All equal, but for the last bits."""
    return max(means) - min(means) <= 1e-12 * max(1.0, abs(max(means)))


def bootstrap_of_means(
    means: list[float], seed: int, resamples: int, confidence: float, bounds: Bounds | None
) -> Interval:
    import numpy as np

    items = np.asarray(means, dtype=float)
    estimate = math.fsum(means) / len(means)
    if all_equal(means):
        return constant(estimate, len(means), bounds, confidence)
    tail = _expanded_tail(len(means), confidence)
    low, high = np.quantile(_resampled_means(items, seed, resamples), [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), len(means), "bootstrap")


def _resampled_means(items: ndarray, seed: int, resamples: int) -> ndarray:
    import numpy as np

    generator = np.random.default_rng(seed)
    blocks = [
        items[generator.integers(0, len(items), size=(size, len(items)))].mean(axis=1)
        for size in blocks_of(resamples, len(items))
    ]
    return np.concatenate(blocks)


def resampled_sums(rows: ndarray, seed: int = 0, *, resamples: int = 2_000) -> ndarray:
    """Sums over items of each column of `rows` (N, C), in resamples of the items: (R, C)."""
    import numpy as np

    generator, n, sums = np.random.default_rng(seed), len(rows), []
    for size in blocks_of(resamples, n):
        indices = generator.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        sums.append(np.bincount(indices.ravel(), minlength=size * n).reshape(size, n) @ rows)
    return np.concatenate(sums)


def blocks_of(total: int, width: int) -> list[int]:
    """Sizes of the blocks in which `total` rows of `width` numbers are drawn, so that memory stays bounded."""
    size = max(1, _BLOCK // width)
    return [min(size, total - start) for start in range(0, total, size)]


def _expanded_tail(n: int, confidence: float) -> float:
    """The tail probability to cut off on each side of `n` items' bootstrap distribution."""
    from scipy.special import stdtrit

    return NormalDist().cdf(math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, (1 - confidence) / 2)))


def constant(value: float, n: int, bounds: Bounds | None, confidence: float = 0.95) -> Interval:
    """The interval of a mean of `n` items that are all alike, of which resampling says nothing; see `bootstrap_mean`."""
    if bounds is None or not bounds[0] <= value <= bounds[1]:
        return Interval(value, -math.inf, math.inf, n, "constant")
    other = wilson(0, n, confidence).high
    low = value - other * (value - bounds[0])
    high = value + other * (bounds[1] - value)
    return Interval(value, low, high, n, "constant")
