"""The p-values of `rlllm compare`: paired differences, the sign-flip permutation test, McNemar's test, Holm's correction.

The unit is the item (the problem). Everything random is seeded. How often each test errs is simulated in
tests/unit/evals/test_coverage_by_simulation.py and listed in docs/concepts/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import DataError
from rlllm.evals.statistics.intervals import (
    RESAMPLES,
    UNIT,
    Bounds,
    Interval,
    all_equal,
    blocks_of,
    bootstrap_of_means,
    item_means,
)

_EXACT_FLIPS = 16
"""Sign patterns of up to this many items are enumerated (65,536); more are sampled."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean over items of after minus before, with the p-value of "the sign of each difference is a coin flip"."""

    interval: Interval
    p_value: float

    def to_json(self) -> dict[str, Any]:
        return {**self.interval.to_json(), "p_value": self.p_value}


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    bounds: Bounds | None = UNIT,
) -> PairedDifference:
    """Mean of `after - before` over items, with its interval and a sign-flip permutation p-value (two-sided).

    The interval is `matched_t` where all scores lie in [0, 1], else a bootstrap.

    Args:
        before, after: one number for each item, in the same order.
        bounds: range of a single score; where all differences are equal, the interval is made from it, see `bootstrap_mean`.

    Raises:
        DataError: no items, different lengths, or a value that is not finite.
    """
    if len(before) != len(after):
        raise DataError("paired scores need the same items", given=f"{len(before)} before, {len(after)} after")
    differences = item_means([[b - a] for a, b in zip(before, after, strict=True)])
    if bounds == UNIT and all(0.0 <= value <= 1.0 for value in (*before, *after)) and not all_equal(differences):
        interval = matched_t(differences, confidence)
    else:
        widest = bounds and (bounds[0] - bounds[1], bounds[1] - bounds[0])
        interval = bootstrap_of_means(differences, seed, resamples, confidence, widest)
    return PairedDifference(interval, sign_flip_p(differences, seed, resamples=resamples))


def matched_t(differences: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of differences in [-1, 1]: Student's interval after two more items, of which half a one rose and half a one fell.

    Most items do not change, and a few that all rose say little about how many would fall. The two added items are Agresti and
    Min's for differences of -1, 0 and 1 (one half in each of the four cells); for others the halves move by the root mean
    square of the differences that are not 0. The estimate stays the plain mean.

    Args:
        differences: one for each item, at least two, not all equal.

    Source: Agresti & Min, Stat. Med. 24 (2005), 729.
    """
    from scipy.special import stdtrit

    n, total = len(differences), math.fsum(differences)
    squares = math.fsum(value * value for value in differences)
    added = squares / sum(value != 0 for value in differences)
    error = math.sqrt((squares + added - total * total / (n + 2)) / (n * (n + 2)))
    half = -float(stdtrit(n - 1, (1 - confidence) / 2)) * error
    centre = total / (n + 2)
    return Interval(total / n, max(-1.0, centre - half), min(1.0, centre + half), n, "t, two items added")


def sign_flip_p(differences: Sequence[float], seed: int = 0, *, resamples: int = RESAMPLES) -> float:
    """Two-sided p-value of "each difference could as well have had the other sign".

    Exact (all sign patterns) for up to 16 differences that are not zero, else Monte Carlo with the observed pattern
    counted in, so that p is never 0. All differences zero: 1.
    """
    import numpy as np

    values = np.asarray([value for value in differences if value != 0], dtype=float)
    if not len(values):
        return 1.0
    # Sums of the same numbers in another order differ in the last bit; a pattern as extreme as the observed must count.
    bar = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if len(values) <= _EXACT_FLIPS:
        patterns = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float((np.abs((1 - 2 * patterns) @ values) >= bar).mean())
    generator = np.random.default_rng(seed)
    extreme = 0
    for size in blocks_of(resamples, len(values)):
        signs = generator.integers(0, 2, size=(size, len(values)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ values) >= bar).sum())
    return (extreme + 1) / (resamples + 1)


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact p-value of McNemar's test: of the items that changed sides, was the split a fair coin's?

    Source: McNemar, Psychometrika 12 (1947), 153; the binomial form, computed in integers.
    """
    changed = gained + lost
    ways, tail = 1, 1
    for k in range(min(gained, lost)):
        ways = ways * (changed - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**changed)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: rejecting where one is at most 5 % errs at all in at most 5 % of cases.

    Needs no independence of the tests, and rejects whatever Bonferroni's correction does.

    Raises:
        DataError: a number that is no probability.

    Source: Holm, Scand. J. Stat. 6 (1979), 65.
    """
    for value in p_values:
        if not 0 <= value <= 1:
            raise DataError("a p-value lies between 0 and 1", given=value)
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
