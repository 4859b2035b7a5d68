"""The outcome of a training run: what became of its main measure, decided by the interval of the paired difference.

The main measure of a run is the first row of `measures` in its results.json: held-out loss of `sft`, accuracy on held-out pairs
(or steps) of `train-rm`, the eval reward of `align`, pass@1 of `reason`. Other measures are shown and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlllm.core.interval_text import interval_text

IMPROVED = "improved"
"""The whole interval of the difference lies on the better side of 0."""
NO_CHANGE = "no measurable change"
"""The interval contains 0: the held-out rows cannot tell whether the model changed for better or for worse. So too where every
row has the very score that it had before."""
GOT_WORSE = "got worse"
"""The whole interval lies on the worse side of 0."""
NOT_MEASURED = "not measured"
"""There is no difference with an interval: nothing was held out, or one of the two ends was not measured."""

FAIL_ON: Mapping[str, str] = {"no-gain": NO_CHANGE, "not-measured": NOT_MEASURED}
"""Value of the setting `fail_on` -> the outcome that it makes a failure. `got worse` always is one."""

Ends = Mapping[str, Any]
"""An interval as results.json has it: `estimate`, `low` and `high`, where a bound that is unknown is None."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the main measure.

    Args:
        state: `improved`, `no measurable change`, `got worse` or `not measured`.
        measure: name of the main measure; None where nothing was measured.
        difference: `estimate`, `low` and `high` of after minus before, with a 95 % interval; None where there is none.
        before: the same of the measure before training.
        after: the same after training.
        higher_is_better: whether a positive difference is the better side.
    """

    state: str
    measure: str | None = None
    difference: Ends | None = None
    before: Ends | None = None
    after: Ends | None = None
    higher_is_better: bool = True

    def __str__(self) -> str:
        """`improved: pass@1 +0.30 [0.26, 0.34]`."""
        return self.state if self.change is None else f"{self.state}: {self.measure} {self.change}"

    @property
    def change(self) -> str | None:
        """The difference as text, `+0.30 [0.26, 0.34]`; None where there is none."""
        return change_text(self.difference) if self.difference else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def outcome_of(results: Mapping[str, Any]) -> Outcome:
    """The outcome that the content of a results.json means; `not measured` without a difference whose bounds are known."""
    measures = results.get("measures") or ()
    if not measures:
        return Outcome(NOT_MEASURED)
    main = measures[0]
    before, after, difference = (_ends(main.get(part)) for part in ("before", "after", "difference"))
    better = bool(main.get("higher_is_better", True))
    state = _state(difference, better)
    return Outcome(state, main["name"], None if state == NOT_MEASURED else difference, before, after, better)


def _state(difference: Ends | None, higher_is_better: bool) -> str:
    if difference is None:
        return NOT_MEASURED
    low, high = difference["low"], difference["high"]
    if low is None or high is None:  # equal differences have no spread that bounds could be made of
        return NOT_MEASURED if difference["estimate"] else NO_CHANGE
    if low <= 0 <= high:
        return NO_CHANGE
    return IMPROVED if (low > 0) == higher_is_better else GOT_WORSE


def change_text(difference: Ends) -> str:
    """A difference as text with its sign, `+0.30 [0.26, 0.34]`.

    Without bounds it is the estimate. The larger bound gets two significant digits, and at least two decimals; more (up to
    six) where the other bound, which is not 0, would be written as 0.
    """
    if difference["low"] is None or difference["high"] is None:
        return interval_text(difference, "+.2f")
    near, far = sorted((abs(difference["low"]), abs(difference["high"])))
    decimals = max(2, _decimals(far, 2))
    if difference["low"] * difference["high"] > 0:
        decimals = max(decimals, _decimals(near, 1))
    return interval_text(difference, f"+.{decimals}f", bounds=f".{decimals}f")


def _decimals(value: float, digits: int) -> int:
    """Decimals, at most six, that show `digits` significant digits of a number that is not negative."""
    return min(6, digits - 1 - math.floor(math.log10(value))) if value else 0


def summary_of(outcomes: Mapping[str, Outcome | None]) -> str:
    """Several outcomes by name in one line: `improved: sft, reason; no measurable change: align`. None is left out."""
    states = {name: outcome.state for name, outcome in outcomes.items() if outcome}
    by_state = {state: [name for name in states if states[name] == state] for state in dict.fromkeys(states.values())}
    return "; ".join(f"{state}: {', '.join(names)}" for state, names in by_state.items())


def _ends(interval: Mapping[str, Any] | None) -> dict[str, float | None] | None:
    """Estimate and bounds of an interval, with None for what is not finite."""
    if interval is None or not _finite(interval.get("estimate")):
        return None
    return {end: interval.get(end) if _finite(interval.get(end)) else None for end in ("estimate", "low", "high")}


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
