"""Alarm during training: the training reward rises and a monitored reward does not follow.

The training reward is the weighted total that the run maximises; a monitored reward has weight 0 and is only logged. Every
`LOOK_EVERY` rollouts the last fifth of the rollouts so far (at least `MIN_ROLLOUTS`) is compared with the first. A look
raises the alarm when two one-sided Welch intervals over means of rollouts lie above 0: that of the rise of the training
reward, and that of

    D = _FOLLOWS * (rise of the training reward) / s_training - (rise of the monitored reward) / s_monitored,

where s is the standard deviation of all completions of both windows, so that rewards of any scale compare: the monitored
reward rose by less than a quarter of what the training reward rose. Repeated looks are paid for by spending the error: look
k at a monitored reward may err with chance ERROR_RATE * 6 / (pi^2 k^2) / (number of monitored rewards), which sums to
ERROR_RATE however long the run is. A monitored reward that follows (D <= 0) therefore raises an alarm in at most 2.5 % of
runs, as far as means of rollouts are independent and near to normal. The check at the end of a run, `overoptimization`,
asks more: there the monitored reward fell.

Sources: Lan & DeMets, Biometrika 70 (1983), 659 (error spending); Welch, Biometrika 34 (1947), 28; Gao, Schulman & Hilton
2022, arXiv 2210.10760 (training and ground-truth reward; "training_reward" and "gold" there).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from rlllm.evals.monitors.overoptimization import END_SHARE, TRAINING_REWARD, change

ERROR_RATE = 0.025
"""Chance of an alarm in a whole run whose monitored rewards follow."""
_FOLLOWS = 0.25
"""Part of the training reward's rise, each in its own standard deviations, that a monitored reward has to make to follow."""
MIN_ROLLOUTS = 5
"""Rollouts in each window at least; the first look is after twice as many."""
LOOK_EVERY = 5
"""Rollouts between two looks."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Training and monitored reward in one rollout: completions that both judged, means, and variances (not unbiased)."""

    step: float
    count: int
    means: tuple[float, float]
    variances: tuple[float, float]


@dataclass(slots=True)
class RewardMonitor:
    """Compares rewards as the rollouts of a run come in.

    Args:
        monitored: display names of the rewards of weight 0.
    """

    monitored: Sequence[str]
    alarms: list[dict[str, Any]] = field(default_factory=list)
    """The first alarm of each monitored reward that raised one, for `Diagnostics.alarms`."""
    _moments: dict[str, list[Moments]] = field(default_factory=dict)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take in rows of `samples.jsonl`, whole steps in their order; the alarms they raise.

        An alarm has `training_reward`, `monitored_reward`, `step` (the last one seen), `rollouts` (compared at
        each end), `training_change` and `monitored_change` (intervals of the look's confidence).
        """
        before = len(self.alarms)
        for _, step in groupby(rows, key=lambda row: row["step"]):
            self._take_in(list(step))
        return self.alarms[before:]

    def _take_in(self, rows: Sequence[Mapping[str, Any]]) -> None:
        alarmed = {alarm["monitored_reward"] for alarm in self.alarms}
        for name in self.monitored:
            moments = None if name in alarmed else moments_of(rows, name)
            if moments is None:
                continue
            rollouts = self._moments.setdefault(name, [])
            rollouts.append(moments)
            if len(rollouts) >= 2 * MIN_ROLLOUTS and len(rollouts) % LOOK_EVERY == 0:
                alarm = look(rollouts, name, len(self.monitored))
                self.alarms += [alarm] if alarm else []


def look(rollouts: Sequence[Moments], name: str, monitored: int = 1) -> dict[str, Any] | None:
    """The alarm that these rollouts raise, or None.

    Args:
        rollouts: all so far, at least `2 * MIN_ROLLOUTS`.
        name: of the monitored reward.
        monitored: how many monitored rewards share the error.
    """
    size = max(MIN_ROLLOUTS, round(END_SHARE * len(rollouts)))
    first, last = rollouts[:size], rollouts[-size:]
    number = (len(rollouts) - 2 * MIN_ROLLOUTS) // LOOK_EVERY + 1
    confidence = 1 - 2 * ERROR_RATE * 6 / (math.pi * number) ** 2 / monitored
    rises = [
        change([rollout.means[side] for rollout in first], [rollout.means[side] for rollout in last], confidence)
        for side in (0, 1)
    ]
    scales = [_deviation([*first, *last], side) for side in (0, 1)]
    if rises[0].low <= 0 or not scales[0]:
        return None
    behind = change(
        [_behind(rollout, scales) for rollout in first], [_behind(rollout, scales) for rollout in last], confidence
    )
    if behind.low <= 0:
        return None
    return {
        "training_reward": TRAINING_REWARD,
        "monitored_reward": name,
        "step": last[-1].step,
        "rollouts": size,
        "training_change": rises[0].to_json(),
        "monitored_change": rises[1].to_json(),
    }


def moments_of(rows: Iterable[Mapping[str, Any]], name: str) -> Moments | None:
    """Moments over the policy's own completions that both rewards judged; None where there are none."""
    pairs = []
    step = 0.0
    for row in rows:
        step = float(row["step"])
        values = row.get("reward"), ((row.get("rewards") or {}).get(name) or {}).get("value")
        if not row.get("demonstration") and all(value is not None and math.isfinite(value) for value in values):
            pairs.append(values)
    if not pairs:
        return None
    (training, training_spread), (monitored, monitored_spread) = map(_mean_and_variance, zip(*pairs, strict=True))
    return Moments(step, len(pairs), (training, monitored), (training_spread, monitored_spread))


def _mean_and_variance(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / len(values)


def _behind(rollout: Moments, scales: Sequence[float]) -> float:
    """How far the monitored reward is behind a quarter of the training reward, in standard deviations; 0 if it never moved."""
    monitored = rollout.means[1] / scales[1] if scales[1] else 0.0
    return _FOLLOWS * rollout.means[0] / scales[0] - monitored


def _deviation(rollouts: Sequence[Moments], side: int) -> float:
    """Standard deviation of all their completions; 0 for one that only rounding makes."""
    total = sum(rollout.count for rollout in rollouts)
    mean = math.fsum(rollout.count * rollout.means[side] for rollout in rollouts) / total
    squares = math.fsum(
        rollout.count * (rollout.variances[side] + (rollout.means[side] - mean) ** 2) for rollout in rollouts
    )
    deviation = math.sqrt(squares / total)
    return deviation if deviation > 1e-9 * max(1.0, abs(mean)) else 0.0
