"""Confidence sequence: an interval that holds at all times, for an evaluation that stops when it is narrow enough.

An ordinary 95 % interval that is looked at after every block, until it looks right, holds the truth far less often than
95 %. The interval here holds it at all sample sizes at once, so one may stop at any time and for any reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlllm.core.errors import ConfigError, DataError
from rlllm.evals.statistics.intervals import Interval

if TYPE_CHECKING:
    from numpy import ndarray

_METHOD = "confidence sequence"
_GRID = 1_000
"""Candidate means are 0, 1/1000, ..., 1; an end is rounded outwards to the next one."""
_BLOCK = 256
"""Values that are worked on at a time: a table of 256 by 1,001 numbers."""


class ConfidenceSequence:
    """Interval for the mean of values in [0, 1] that is valid at all times: the hedged capital process.

    Against every candidate mean m two gamblers bet, one that values lie above it and one that they lie below; nobody can
    expect to win against the true mean. The interval holds the candidates against which neither has multiplied the stakes
    by 2 / alpha. By Ville's inequality the true mean is ever left out with a probability of at most alpha.

    One value is one problem (the mean of its samples), and problems come in random order: each value has the same
    expectation given those before.

    Source: Waudby-Smith & Ramdas, J. R. Stat. Soc. B 86 (2024), 1, arXiv 2010.09686: theorem 3 with equation 26 and c = 1/2.
    """

    def __init__(self, confidence: float = 0.95) -> None:
        """Raises ConfigError if `confidence` does not lie between 0 and 1."""
        import numpy as np

        if not 0 < confidence < 1:
            raise ConfigError("a confidence lies between 0 and 1, exclusive", given=confidence)
        self.bets = Bets(1 - confidence)
        self.means = np.linspace(0, 1, _GRID + 1)
        self.above, self.below = np.zeros(_GRID + 1), np.zeros(_GRID + 1)

    def update(self, values: Sequence[float]) -> None:
        """Take the values of further problems, in the order in which they came.

        Raises:
            DataError: a value outside of [0, 1]; then none of them is taken.
        """
        for value in values:
            if not 0 <= value <= 1:
                raise DataError("a confidence sequence is for values between 0 and 1", given=value)
        for start in range(0, len(values), _BLOCK):
            above, below = self.bets.log_capital(values[start : start + _BLOCK], self.means)
            self.above += above[-1]
            self.below += below[-1]

    @property
    def interval(self) -> Interval:
        """Mean of the values so far, and the interval around it. Raises DataError before the first value."""
        import numpy as np

        bets = self.bets
        if not bets.count:
            raise DataError("a confidence sequence has no estimate before its first value")
        mean = float(bets.total / bets.count)
        held = np.flatnonzero(np.maximum(self.above, self.below) < math.log(2 / bets.alpha))
        ends = (max(held[0] - 1, 0), min(held[-1] + 1, _GRID)) if len(held) else (round(mean * _GRID),) * 2
        low, high = (float(self.means[end]) for end in ends)
        return Interval(mean, min(low, mean), max(high, mean), bets.count, _METHOD)


class Bets:
    """Sizes of the bets, each settled before its value is seen, and what they earn."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.count, self.total, self.squares = 0, 0.0, 0.25
        """`squares` begins with one value of variance 1/4, the largest there is."""

    def log_capital(self, values: Sequence[float], means: ndarray) -> tuple[ndarray, ndarray]:
        """Log growth of the capital that bets above and below each candidate mean.

        Args:
            values: (N,) further values in [0, 1].
            means: (M,) candidate means.

        Returns:
            Two tables (N, M): the growth over the first 1, 2, ..., N of these values.
        """
        import numpy as np

        sizes = np.array([self._bet(value) for value in values])[:, None]
        gain = np.asarray(values, dtype=float)[:, None] - means
        with np.errstate(divide="ignore"):
            upwards, downwards = np.minimum(sizes, 0.5 / means), np.minimum(sizes, 0.5 / (1 - means))
        return np.log1p(upwards * gain).cumsum(axis=0), np.log1p(-downwards * gain).cumsum(axis=0)

    def _bet(self, value: float) -> float:
        """The bet on a value, from those before it; then the value is counted."""
        variance = self.squares / (self.count + 1)
        turn = self.count + 1
        size = math.sqrt(2 * math.log(2 / self.alpha) / (variance * turn * math.log(turn + 1)))
        self.count, self.total = turn, self.total + value
        self.squares += (value - (0.5 + self.total) / (turn + 1)) ** 2
        return size
