"""Check at the end of a run for reward over-optimisation: the training reward rose while a monitored reward fell.

The training reward is the weighted total that the run maximises; a monitored reward has weight 0 (the ground-truth utility,
a held-out reward model) and is only logged. The mean of the last fifth of the steps is compared with the first fifth's. The
unit is the mean of a step: completions of one step share a policy and prompts, so that they are not independent, while
steps draw their prompts and completions anew. Drift within a fifth counts as noise and makes the interval wider.

An alarm needs both intervals away from 0, on opposite sides. With 95 % intervals, a monitored reward that does not move
raises one in about 2.5 % of runs at most, however much the training reward rises; several monitored rewards share the level
(Bonferroni). A monitored reward that rose and then fell back, but not below its start, raises none.

Source: Gao, Schulman & Hilton 2022, arXiv 2210.10760.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlllm.evals.statistics.intervals import Interval

TRAINING_REWARD = "the total reward"
END_SHARE = 0.2
"""Part of the steps at each end that is compared."""
MIN_STEPS = 3
"""Steps at each end without which nothing is said: below, the spread between steps is not known."""


def divergences(rows: Iterable[Mapping[str, Any]], monitored: Sequence[str]) -> list[dict[str, Any]]:
    """`divergence` of every monitored reward, for `Diagnostics.divergences`; those without enough steps are left out.

    Args:
        rows: rows of `samples.jsonl`.
        monitored: display names of the rewards of weight 0.
    """
    samples = list(rows)
    confidence = 1 - 0.05 / max(1, len(monitored))
    each = [divergence(samples, TRAINING_REWARD, name, confidence=confidence) for name in monitored]
    return [row for row in each if row is not None]


def divergence(
    rows: Iterable[Mapping[str, Any]], training: str, monitored: str, *, confidence: float = 0.95
) -> dict[str, Any] | None:
    """How training and monitored reward moved from the first fifth of the steps to the last.

    Args:
        rows: rows of `samples.jsonl`: `step`, `reward` (the weighted total, None where undefined), and `rewards` with the
            `value` of every reward by name. Completions without a value are left out; so are traces, which the policy did not
            write.
        training: the reward that is maximised: the name of one, or `TRAINING_REWARD` for the weighted total.
        monitored: name of a reward of weight 0.
        confidence: of both intervals.

    Returns:
        `training_reward`, `monitored_reward`, `steps` (compared at each end), `training_change` and
        `monitored_change` (intervals), and `alarm`; None with fewer than three steps at each end that judged both.
    """
    values: dict[float, tuple[list[float], list[float]]] = {}
    for row in rows:
        if row.get("demonstration"):
            continue
        pair = values.setdefault(float(row["step"]), ([], []))
        for column, name in zip(pair, (training, monitored), strict=True):
            value = (
                row.get("reward") if name == TRAINING_REWARD else (row.get("rewards", {}).get(name) or {}).get("value")
            )
            if value is not None and math.isfinite(value):
                column.append(float(value))
    steps = [pair for _, pair in sorted(values.items()) if all(pair)]
    end = round(END_SHARE * len(steps))
    if end < MIN_STEPS:
        return None
    changes = [
        change([_mean(step[side]) for step in steps[:end]], [_mean(step[side]) for step in steps[-end:]], confidence)
        for side in (0, 1)
    ]
    return {
        "training_reward": training,
        "monitored_reward": monitored,
        "steps": end,
        "training_change": changes[0].to_json(),
        "monitored_change": changes[1].to_json(),
        "alarm": changes[0].low > 0 > changes[1].high,
    }


def change(first: Sequence[float], last: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of `last` minus mean of `first`, with Welch's interval: the two may spread differently.

    Args:
        first, last: at least two numbers each. Where neither spreads, the interval is a point.

    Source: Welch, Biometrika 34 (1947), 28; degrees of freedom after Satterthwaite.
    """
    from scipy.special import stdtrit

    difference = _mean(last) - _mean(first)
    parts = [_variance(side) / len(side) for side in (first, last)]
    total = sum(parts)
    if total == 0:
        return Interval(difference, difference, difference, len(first) + len(last), "welch")
    freedom = total**2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (first, last), strict=True))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(total)
    return Interval(difference, difference - half, difference + half, len(first) + len(last), "welch")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    """Unbiased."""
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
