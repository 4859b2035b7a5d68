"""Mixtures of sources: how many rows of each, which ones, and in what order. Works on arrays of row numbers.

The shares are given, or p_i ~ n_i^(1/T) of the sizes (Devlin et al. 2019; T5, section 3.5.2). Counts are whole numbers that
add up exactly (largest remainder). When a source has too few rows, the others give more. The seed decides everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlllm.core.errors import DataError
from rlllm.data.prepare.settings import Mixture

_Places = NDArray[np.int64]
_EXACT = 1e-9
"""Slack of products of floats that ought to be whole numbers."""


def shares(sizes: Sequence[int], mixture: Mixture) -> list[float]:
    """Share of each source, adding up to 1; a source without rows has none."""
    if mixture.weights is not None:
        raw = list(mixture.weights)
        missing = [number for number, size in enumerate(sizes, start=1) if not size and raw[number - 1]]
        if missing:
            raise DataError(f"source {missing[0]} of the mixture has weight and no rows", hint="set its weight to 0")
    else:
        largest = max(sizes, default=0)
        raw = [(size / largest) ** (1 / (mixture.temperature or 1.0)) if size else 0.0 for size in sizes]
    total = sum(raw)
    if not total:
        raise DataError("the mixture has no rows")
    return [share / total for share in raw]


def counts(sizes: Sequence[int], mixture: Mixture) -> list[int]:
    """Rows to take of each source, which has `sizes` rows after its limit.

    Raises:
        DataError: `rows` cannot be had within `epochs`, or there is nothing to mix.
    """
    share_of = shares(sizes, mixture)
    most = [math.floor(size * mixture.epochs + _EXACT) for size in sizes]
    if mixture.rows is None:
        unlimited = mixture.weights is None and mixture.temperature is None
        total = (
            sum(most)
            if unlimited
            else math.floor(min(cap / share for cap, share in zip(most, share_of, strict=True) if share) + _EXACT)
        )
        return largest_remainder(share_of, max(total, 1), most)
    available = sum(cap for cap, share in zip(most, share_of, strict=True) if share)
    if mixture.rows > available:
        raise DataError(
            f"the mixture wants {mixture.rows:,} rows, its sources give {available:,}",
            given=f"rows of the sources: {', '.join(map(str, sizes))}",
            hint=f"lower mixture.rows, or repeat rows with mixture.epochs={math.ceil(mixture.rows / max(1, sum(sizes)))}",
        )
    return largest_remainder(share_of, mixture.rows, most)


def largest_remainder(shares: Sequence[float], total: int, most: Sequence[int]) -> list[int]:
    """Whole numbers near `total` times each share that add up to `total`, none above its `most`.

    Where a source runs out, what it lacks goes to the others by their shares. Equal remainders: the earlier source first.
    """
    counts = [0] * len(shares)
    while (rest := total - sum(counts)) > 0:
        open_to = [i for i, share in enumerate(shares) if share and counts[i] < most[i]]
        weight = sum(shares[i] for i in open_to)
        if not open_to:
            break
        quotas = {i: rest * shares[i] / weight for i in open_to}
        increments = {i: math.floor(quota + _EXACT) for i, quota in quotas.items()}
        by_remainder = sorted(open_to, key=lambda i: (increments[i] - quotas[i], i))
        for i in by_remainder[: rest - sum(increments.values())]:
            increments[i] += 1
        for i in open_to:
            counts[i] = min(most[i], counts[i] + increments[i])
    return counts


def draw(sources: Sequence[_Places], mixture: Mixture) -> _Places:
    """Row numbers of the mixture, in its order.

    Args:
        sources: for each source the numbers of its rows, in order.
        mixture: a single source keeps its order unless rows are chosen of it or repeated; several are shuffled together.

    All rows of a source are taken once, in a random order, before any of them is repeated.
    """
    limits = mixture.limits or [None] * len(sources)
    shares_of_rows = mixture.fractions or [1.0] * len(sources)
    limited = [
        _fraction(rows[:limit], share, [mixture.seed, index, 2])
        for index, (rows, limit, share) in enumerate(zip(sources, limits, shares_of_rows, strict=True))
    ]
    row_counts = counts([len(rows) for rows in limited], mixture)
    drawn_rows = [
        _epochs(rows, count, [mixture.seed, index])
        for index, (rows, count) in enumerate(zip(limited, row_counts, strict=True))
    ]
    if len(sources) == 1 and row_counts[0] <= len(limited[0]):
        return np.sort(drawn_rows[0])
    together = np.concatenate(drawn_rows)
    return together[np.random.Generator(np.random.PCG64([mixture.seed, len(sources), 1])).permutation(len(together))]


def _fraction(rows: _Places, share: float, seed: list[int]) -> _Places:
    """This share of the rows, rounded down, chosen by the seed, in their order."""
    if share == 1:
        return rows
    count = math.floor(len(rows) * share + _EXACT)
    return np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(rows)[:count])


def _epochs(rows: _Places, count: int, seed: list[int]) -> _Places:
    generator = np.random.Generator(np.random.PCG64(seed))
    passes = [generator.permutation(rows) for _ in range(math.ceil(count / len(rows)))] if count else []
    return np.concatenate([rows[:0], *passes])[:count]


def by_curriculum(rows: _Places, values: NDArray[np.float64]) -> _Places:
    """The rows sorted by value, the smallest first; rows with equal values keep their order."""
    return rows[np.argsort(values[rows], kind="stable")]
