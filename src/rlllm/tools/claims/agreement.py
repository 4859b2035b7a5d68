"""Whether two runs agree on a measure, where they are not equal bit for bit.

Both measured the same held-out problems. D is the mean difference of a problem's score, new minus claimed, with its 95 %
interval. With a margin M the runs agree where the interval lies inside of (-M, M), and disagree where it lies wholly outside of
[-M, M]. Everything else cannot be decided by so many problems. It is the two one-sided tests of equivalence at 2.5 %
(Schuirmann, J. Pharmacokin. Biopharm. 15 (1987), 657), read off an interval.

The margin is half of the claimed change, where that change is told from none: a run that agrees has at least half of it. A
claim of no measurable change has as its margin the end of its interval that is farther from 0.

The interval is over problems and samples, under one seed. Where training itself went another way, as on another processor, the
difference of two such runs is part of D, and a small margin may find it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from rlllm.core.errors import ConfigError, DataError

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
UNDECIDED = "not decidable at this power"
_POWER = 0.8


@dataclass(frozen=True)
class Agreement:
    """The comparison of two runs by their scores.

    Args:
        verdict: one of the three constants above.
        difference: `estimate`, `low` and `high` of D.
        margin: M.
        power: probability that two runs without any true difference are found to agree.
        smallest_margin: the margin at which that probability is 0.8.
        problems: held-out problems that both could be judged on.
    """

    verdict: str
    difference: dict[str, Any]
    margin: float
    power: float
    smallest_margin: float
    problems: int


def agreement(claimed: Sequence[float | None], new: Sequence[float | None], margin: float, seed: int = 0) -> Agreement:
    """Compare the scores of two runs, problem by problem.

    Args:
        claimed, new: of each problem the mean score; None where it could not be judged.
        margin: largest difference that counts as none; above 0.
        seed: of the bootstrap, for scores that do not lie in [0, 1].

    Raises:
        DataError: another number of problems, or none that both could be judged on.
        ConfigError: a margin that is not above 0.
    """
    from rlllm.evals.statistics.intervals import score_bounds
    from rlllm.evals.statistics.paired_tests import paired_difference

    if not margin > 0:
        raise ConfigError("a margin of equivalence is above 0", given=margin)
    if len(claimed) != len(new):
        raise DataError("the runs measured other problems", given=f"{len(claimed)} claimed, {len(new)} now")
    pairs = [(then, now) for then, now in zip(claimed, new, strict=True) if then is not None and now is not None]
    then, now = [first for first, _ in pairs], [second for _, second in pairs]
    interval = paired_difference(then, now, seed, bounds=score_bounds([then], [now])).interval
    error = (interval.high - interval.low) / (2 * NormalDist().inv_cdf(0.975))
    return Agreement(
        verdict=_verdict(interval.low, interval.high, margin),
        difference={"estimate": interval.estimate, "low": interval.low, "high": interval.high},
        margin=margin,
        power=power(margin, error),
        smallest_margin=error * (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf((1 + _POWER) / 2)),
        problems=len(pairs),
    )


def _verdict(low: float, high: float, margin: float) -> str:
    if -margin < low and high < margin:
        return REPRODUCED
    return NOT_REPRODUCED if low > margin or high < -margin else UNDECIDED


def power(margin: float, error: float) -> float:
    """Probability that an estimate of standard error `error` around 0 has its 95 % interval inside of the margin."""
    if error == 0:
        return 1.0
    return max(0.0, 2 * NormalDist().cdf(margin / error - NormalDist().inv_cdf(0.975)) - 1)


def margin_of(measure: Mapping[str, Any]) -> float:
    """The margin of a row of `results.json`; 0 where it has no change with an interval."""
    change = measure.get("difference")
    if not change or change.get("low") is None:
        return 0.0
    low, high = change["low"], change["high"]
    margin = abs(change["estimate"]) / 2 if low > 0 or high < 0 else max(abs(low), abs(high))
    return float(margin) if math.isfinite(margin) else 0.0
