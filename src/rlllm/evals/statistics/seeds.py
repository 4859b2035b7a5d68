"""Intervals over seeds: the mean of runs that were trained again, with Student's t or a bootstrap over seeds and problems.

Two views of the same table of seeds and problems: Student's t over the seeds' means (it asks what another seed would give, and
is honest with few of them), and a bootstrap over both at once (it also asks what other problems would give).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from rlllm.core.errors import DataError
from rlllm.evals.statistics.intervals import RESAMPLES, Bounds, Interval, blocks_of

_T_OVER_SEEDS = "t over seeds"
_LOGIT_OVER_SEEDS = "t over seeds, of the logit"
_CROSSED = "bootstrap over seeds and problems"


def t_interval(values: Sequence[float], confidence: float = 0.95, *, bounds: Bounds | None = None) -> Interval:
    """Mean of one value a seed, with Student's t interval; `n` counts seeds.

    Where all values are equal (or there is one) they say nothing about their spread, and the interval is infinite.

    Args:
        values: one of each seed.
        confidence: of the interval.
        bounds: ends of the range of a rate, (0, 1) of pass@1. The interval is then made of the mean's logit, with the standard
            error that the delta method gives it, and transformed back, so that it lies inside of them.

    Raises:
        DataError: no values, or one that is not finite or outside of the bounds.

    Source: Student, Biometrika 6 (1908), 1; the logit: Korn and Graubard, Survey Methodology 24 (1998), 193.
    """
    from scipy.special import stdtrit

    if not values or not all(math.isfinite(value) for value in values):
        raise DataError("a mean over seeds needs finite numbers", given=list(values)[:8])
    if bounds is not None and not all(bounds[0] <= value <= bounds[1] for value in values):
        raise DataError(f"a value lies outside of {bounds[0]:g} to {bounds[1]:g}", given=list(values)[:8])
    mean, count = fmean(values), len(values)
    if max(values) - min(values) <= 1e-12 * max(1.0, abs(mean)):
        return Interval(mean, -math.inf, math.inf, count, _T_OVER_SEEDS)
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * stdev(values) / math.sqrt(count)
    if bounds is not None:
        return _in_range(mean, half, count, bounds)
    return Interval(mean, mean - half, mean + half, count, _T_OVER_SEEDS)


def over_seeds(values: Sequence[float], bounds: Bounds | None = None) -> dict[str, Any]:
    """The t interval as a row of results.json; what it counts is seeds, not items. Ends that nothing tells are None."""
    return {**t_interval(values, bounds=bounds).to_json(), "n": None, "seeds": len(values)}


def _in_range(mean: float, half: float, count: int, bounds: Bounds) -> Interval:
    """The interval mean ± half on the scale of the logit, where half / (m (1 - m)) is its half width, and back again."""
    from scipy.special import expit, logit

    low, high = bounds
    width = high - low
    share, half = (mean - low) / width, half / width
    centre, spread = float(logit(share)), half / (share * (1 - share))
    lower, upper = (low + width * float(expit(centre + sign * spread)) for sign in (-1, 1))
    return Interval(mean, lower, upper, count, _LOGIT_OVER_SEEDS)


def t_test(values: Sequence[float]) -> float:
    """Two-sided p-value of "the mean over seeds is 0", by Student's t; `values` has one difference for each seed, at least two.

    Where all values are equal they say nothing about their spread: 1.

    Raises:
        DataError: fewer than two values, or one that is not finite.

    Source: Student, Biometrika 6 (1908), 1.
    """
    from scipy.special import stdtr

    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        raise DataError("a test over seeds needs two or more finite numbers", given=list(values)[:8])
    mean, count = fmean(values), len(values)
    if max(values) - min(values) <= 1e-12 * max(1.0, abs(mean)):
        return 1.0
    return 2 * float(stdtr(count - 1, -abs(mean) / (stdev(values) / math.sqrt(count))))


def crossed_bootstrap(
    table: Sequence[Sequence[float]], seed: int = 0, *, resamples: int = RESAMPLES, confidence: float = 0.95
) -> Interval:
    """Mean of a table (S seeds, N problems), with the percentile interval of the pigeonhole bootstrap.

    Seeds and problems are drawn anew, independently of each other; every seed met the same problems, so problems are no part
    of a seed. With two or three seeds it is too narrow: seeds drawn from so few repeat each other. `n` counts problems.

    Raises:
        DataError: no seeds, no problems, rows of different lengths, or a value that is not finite.

    Source: Owen, Ann. Appl. Stat. 1 (2007), 386.
    """
    import numpy as np

    if not table or not len(table[0]) or len({len(row) for row in table}) > 1:
        raise DataError("seeds and problems make a table: the same problems for each seed", given=[*map(len, table)])
    values = np.asarray(table, dtype=float)
    if not np.isfinite(values).all():
        raise DataError("a value of the table is not finite")
    seeds, problems = values.shape
    generator = np.random.default_rng(seed)
    means = []
    for size in blocks_of(resamples, problems + seeds):
        rows = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=size)
        columns = generator.multinomial(problems, np.full(problems, 1 / problems), size=size)
        means.append(np.einsum("rs,sn,rn->r", rows, values, columns, optimize=True) / (seeds * problems))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high), problems, _CROSSED)
