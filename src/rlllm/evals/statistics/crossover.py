"""Crossover k: the number of samples from which on a base model's pass@k exceeds its fine-tuned model's.

Training often raises pass@1 and narrows what the model tries. The base model's pass@k then grows faster with k, and passes
the tuned model's at some k: the crossover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rlllm.evals.statistics.intervals import resampled_sums
from rlllm.evals.statistics.pass_estimators import pass_table

if TYPE_CHECKING:
    from numpy import ndarray

_Counts = Sequence[tuple[int, int]]
"""For each problem how many completions were sampled, and how many of them passed."""
_EVERY_K = 128
"""Up to this many samples every k is looked at; above, this many ks in equal ratios."""


@dataclass(frozen=True, slots=True)
class Crossover:
    """The smallest k at which the base model's pass@k lies above the tuned model's."""

    estimate: int | None
    """The k; None: there is none up to `up_to`."""
    low: int | None
    """2.5 % quantile over resamples of the problems; None where even that resample has none up to `up_to`."""
    high: int | None
    """97.5 % quantile; None where it lies beyond `up_to`, or is no crossover at all."""
    up_to: int
    """The largest k that the samples allow."""
    share: float
    """Share of the resamples that have a crossover."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def crossover(base: _Counts, tuned: _Counts, *, seed: int = 0) -> Crossover:
    """Crossover of two models on the same problems in the same order, with its interval by a bootstrap over problems.

    1 says that the base model is ahead from the start. The k is an order statistic of a noisy curve: read it with its interval,
    and where `share` is near one half as "not known".

    Source: Yue et al. 2025, arXiv 2504.13837.
    """
    import numpy as np

    largest = min(n for n, _ in (*base, *tuned))
    ks = _ks(largest)
    gap = pass_table(base, ks) - pass_table(tuned, ks)
    first = _first_above(gap.sum(axis=0)[None], ks)[0]
    crossings = _first_above(resampled_sums(gap, seed), ks)
    low, high = np.quantile(crossings, [0.025, 0.975], method="nearest")
    return Crossover(_known(first), _known(low), _known(high), largest, float(np.isfinite(crossings).mean()))


def _ks(largest: int) -> list[int]:
    import numpy as np

    if largest <= _EVERY_K:
        return list(range(1, largest + 1))
    return [int(k) for k in np.unique(np.geomspace(1, largest, _EVERY_K).round())]


def _first_above(gaps: ndarray, ks: Sequence[int]) -> ndarray:
    """For each row of gaps (R, K) the first k where it is positive, beyond rounding; infinite where there is none."""
    import numpy as np

    above = gaps > 1e-9
    return np.where(above.any(axis=1), np.asarray(ks, dtype=float)[above.argmax(axis=1)], np.inf)


def _known(k: float) -> int | None:
    return int(k) if k < float("inf") else None
