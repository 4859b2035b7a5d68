"""Values of settings that are chosen for each arm, under seeds that are not in the table."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rlllm.stages.sweep.arms import Overrides, PlannedArm
from rlllm.stages.sweep.runs import Runner
from rlllm.stages.sweep.settings import point_name

FIRST_SEED = 1000
"""Seeds of tuning begin here, where no table has its own."""


@dataclass(slots=True)
class _Point:
    """One combination of values.

    Args:
        name: as in the page.
        settings: key and value.
        values: seed -> main measure after training.
        failure: why there is no value under some seed.
        dropped: after how many seeds it was given up; None if it was not.
    """

    name: str
    settings: Overrides
    values: dict[int, float] = field(default_factory=dict)
    failure: str | None = None
    dropped: str | None = None

    @property
    def runs_on(self) -> bool:
        return self.failure is None and self.dropped is None

    def mean(self, sign: float) -> float:
        return sign * fmean(self.values.values())


def points(arm: PlannedArm) -> list[tuple[str, Overrides]]:
    """Name and settings of every combination of the values that an arm chooses from; empty where it chooses nothing."""
    if not arm.tune:
        return []
    chosen = (dict(zip(arm.tune, values, strict=True)) for values in itertools.product(*arm.tune.values()))
    return [(point_name(point), tuple(point.items())) for point in chosen]


def tune(runner: Runner, arm: PlannedArm) -> tuple[Overrides, dict[str, Any] | None]:
    """Train an arm with each of its values and choose the best by the mean of the main measure.

    With `stop_hopeless` only the better half of the values (rounded up) goes on to the next seed.

    Returns:
        The chosen settings, and what is recorded of the choice: `seeds`, `chosen`, `values`. Nothing and None where the arm
        chooses nothing or a Ctrl-C came. Where every value failed, no settings and `chosen` None.
    """
    sweep = runner.sweep
    candidates = [_Point(name, settings) for name, settings in points(arm)]
    seeds = list(range(FIRST_SEED, FIRST_SEED + sweep.tune_seeds))
    if not candidates or not seeds:
        return (), None
    sign = 1.0
    for seed in seeds:
        for point in candidates:
            if point.runs_on:
                sign = _train(runner, arm, point, seed) or sign
            if runner.interrupted:
                return (), None
        if sweep.stop_hopeless and seed != seeds[-1]:
            _halve(candidates, sign)
    ranked = sorted((point for point in candidates if point.runs_on), key=lambda point: -point.mean(sign))
    best = ranked[0] if ranked else None
    values = [
        {
            "name": point.name,
            "settings": dict(point.settings),
            "values": {str(seed): value for seed, value in point.values.items()},
            "failure": point.failure,
            "dropped": point.dropped,
        }
        for point in candidates
    ]
    record = {"seeds": seeds, "chosen": best and best.name, "values": values}
    return (best.settings if best else ()), record


def _train(runner: Runner, arm: PlannedArm, point: _Point, seed: int) -> float | None:
    """One run; the sign that makes a larger main measure better, None where there is no measure."""
    folder = runner.folder / "tuning" / arm.name / Path(point.name) / f"seed-{seed}"
    attempt = runner.attempt(arm, seed, folder, point.settings)
    point.failure = attempt.failure
    if attempt.numbers is None:
        return None
    point.values[seed] = attempt.numbers.numbers["after"]
    return 1.0 if attempt.numbers.higher_is_better else -1.0


def _halve(candidates: list[_Point], sign: float) -> None:
    """Drop the worse half of the values that are left."""
    ranked = sorted((point for point in candidates if point.runs_on), key=lambda point: -point.mean(sign))
    for point in ranked[math.ceil(len(ranked) / 2) :]:
        point.dropped = f"dropped after {len(point.values)} {'seed' if len(point.values) == 1 else 'seeds'}"
