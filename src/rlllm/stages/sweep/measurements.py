"""The numbers of one training run: what was measured before and after, and what its log says about the way there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from rlllm.core.runs import Run
from rlllm.evals.statistics.intervals import score_bounds
from rlllm.evals.statistics.pass_estimators import pass_at_k

_SHARES = ("zero-variance groups", "groups kept")
_LAST = 10
"""Logged steps that entropy and completion length are averaged over, at the end of a run."""


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """One finished run.

    Args:
        measure: name of the main measure, the first that was measured.
        higher_is_better: of the main measure.
        problems: what the main measure was taken on: prompts, or the data's hash where it has none.
        low, high: 95 % interval of the main measure after training, over problems; infinite where it is not known.
        scores: of each problem the mean after training; None where it could not be judged.
        numbers: name -> value, as in results.json of a sweep.
        rates: names of the numbers that lie in [0, 1].
    """

    measure: str
    higher_is_better: bool
    problems: Any
    scores: list[float | None]
    numbers: dict[str, float] = field(default_factory=dict)
    low: float = -math.inf
    high: float = math.inf
    rates: frozenset[str] = frozenset()


def finished(run: Run) -> bool:
    """Whether a run trained to its end and was measured; what its verdict says is a result and not a failure."""
    if any(row["after"] is None for row in run.results.get("measures", ())[:1]):  # no held-out item could be judged
        return False
    return run.status.get("state") in ("done", "failed") and (run.path / "measured_after.json").exists()


def numbers_of(run: Run) -> RunNumbers:
    """The numbers of a finished run. It has to have been measured before and after."""
    before, after = (run.read(f"measured_{when}.json")[0] for when in ("before", "after"))
    scores, interval = after["scores"], run.read("results.json")["measures"][0]["after"]
    passed = _pass_at_most(before["scores"], after["scores"])
    measured = ("before", "after") if score_bounds(before["scores"], scores) else ()
    return RunNumbers(
        measure=after["name"],
        higher_is_better=after["higher_is_better"],
        problems=after["prompts"] or [run.read("lineage.json")["data"]["hash"], len(scores)],
        scores=[fmean(row) if row else None for row in scores],
        low=-math.inf if interval["low"] is None else interval["low"],
        high=math.inf if interval["high"] is None else interval["high"],
        numbers={
            **_measured(run.read("results.json")["measures"]),
            **passed,
            **_log(run.metrics()),
            "seconds": float(run.status["seconds"]),
        },
        rates=frozenset({*measured, *passed, *_SHARES}),
    )


def _measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """`before` and `after` of the main measure; every further measure by its name."""
    main, *others = rows
    values = {when: main[when]["estimate"] for when in ("before", "after")}
    for row in others:
        values[str(row["name"])] = row["after"]["estimate"]
    return values


def _pass_at_most(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> dict[str, float]:
    """pass@k for the number of samples k that every problem has, where scores plainly pass or fail."""
    rows = [row for row in (*before, *after) if row]
    k = min((len(row) for row in rows), default=0)
    if k < 2 or any(score not in (0.0, 1.0) for row in rows for score in row):
        return {}
    sides = {f"pass@{k} before": before, f"pass@{k}": after}
    return {
        name: fmean(pass_at_k(len(row), int(sum(row)), k) for row in table if row)
        for name, table in sides.items()
        if any(table)
    }


def _log(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Numbers of metrics.jsonl; what a method does not log is left out."""
    rollouts = [row for row in rows if "completions/mean_length" in row]
    means: dict[str, tuple[str, Sequence[Mapping[str, Any]]]] = {
        "entropy": ("entropy", rows[-_LAST:]),
        "completion length": ("completions/mean_length", rollouts[-_LAST:]),
        "zero-variance groups": ("frac_reward_zero_std", rollouts),
        "groups kept": ("sampling/kept_share", rollouts),
    }
    found: dict[str, float | None] = {name: _mean(*given) for name, given in means.items()}
    found["steps"] = max((row["step"] for row in rows), default=None)
    found["tokens"] = _total(rows, "num_tokens", max)
    found["tokens rejected"] = _total(rows, "sampling/extra_tokens", sum)
    return {name: float(value) for name, value in found.items() if value is not None}


def _mean(key: str, rows: Sequence[Mapping[str, Any]]) -> float | None:
    values = [row[key] for row in rows if key in row]
    return fmean(values) if values else None


def _total(rows: Sequence[Mapping[str, Any]], key: str, join: Callable[[Any], float]) -> float | None:
    values = [row[key] for row in rows if key in row]
    return join(values) if values else None
