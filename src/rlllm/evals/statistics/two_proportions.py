"""The difference of two rates that were measured apart: my run's, and one that somebody published."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from rlllm.evals.statistics.intervals import Interval

_POWER = 0.8


@dataclass(frozen=True, slots=True)
class RateDifference:
    """Of `one` minus `other`.

    Args:
        interval: with its 95 % interval.
        detectable: the true difference that would have been found (its interval leaves out 0) with a probability of 0.8.
    """

    interval: Interval
    detectable: float

    @property
    def consistent(self) -> bool:
        """Whether the interval holds 0."""
        return self.interval.low <= 0 <= self.interval.high


def rate_difference(one: Interval, other: Interval) -> RateDifference:
    """The difference of two independent estimates in [0, 1], from the interval of each.

    The lower end lies below the estimate by the root of the squared distances of `one` to its lower end and of `other` to its
    upper end; the upper end the other way round. With Wilson's intervals this is Newcombe's hybrid score interval, which holds
    its level where the normal approximation does not: near 0 and 1, and with few problems.

    Two runs that answered the same problems are not independent: what makes a problem hard makes it hard for both, and the
    difference varies less than this says. So the interval is rather too wide.

    Source: Newcombe, Stat. Med. 17 (1998), 873, method 10; for other intervals Zou & Donner, Stat. Med. 27 (2008), 1693.
    """
    estimate = one.estimate - other.estimate
    down = math.hypot(one.estimate - one.low, other.high - other.estimate)
    up = math.hypot(one.high - one.estimate, other.estimate - other.low)
    normal = NormalDist()
    error = (down + up) / (2 * normal.inv_cdf(0.975))
    detectable = error * (normal.inv_cdf(0.975) + normal.inv_cdf(_POWER))
    low, high = max(-1.0, estimate - down), min(1.0, estimate + up)
    return RateDifference(Interval(estimate, low, high, min(one.n, other.n), "hybrid score"), detectable)
