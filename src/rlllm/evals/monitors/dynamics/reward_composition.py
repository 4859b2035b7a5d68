"""The total reward grows by a minor reward alone."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts
from rlllm.evals.monitors.overoptimization import change

_FEWEST = 10
_LOOK_EVERY = 5
_SHARE = 0.3
_MAJOR = 0.25


class RewardComposition(Monitor):
    """The total reward rose, and that of the largest weight moved by less than a quarter as much, by 95 % intervals.

    The mean of the last 30 % of the logged steps is compared with that of the first, from step 10 on, every 5 steps. Needs two
    rewards with different weights.
    """

    name = "reward_composition"
    summary = "the total reward grows by a minor reward alone"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        ranked = sorted(((weight, name) for name, weight in facts.weights.items() if weight > 0), reverse=True)
        self._major = ranked[0] if len(ranked) > 1 and ranked[0][0] > ranked[1][0] else None
        self._totals: list[tuple[int, float, float]] = []

    def observe(self, step: LoggedStep) -> Finding | None:
        if self._major is None:
            return None
        weight, name = self._major
        total, major = step.values.get("reward"), step.values.get(f"rewards/{name}/mean")
        if total is None or major is None:
            return None
        self._totals.append((step.step, total, weight * major))
        if len(self._totals) < _FEWEST or len(self._totals) % _LOOK_EVERY:
            return None
        end = round(_SHARE * len(self._totals))
        first, last = self._totals[:end], self._totals[-end:]
        grown, own = (change([row[side] for row in first], [row[side] for row in last]) for side in (1, 2))
        if grown.low <= 0 or max(abs(own.low), abs(own.high)) > _MAJOR * grown.estimate:
            return None
        return Finding(
            first[0][0],
            f"the total reward rose by {grown.format(3)}, of which {name}, the reward with the largest weight, brought "
            f"{own.format(3)}",
            "what is learned is the form that the other rewards pay for",
            f"does {name} read the right column (--columns), and can the model earn it? rlllm runs show RUN --samples last",
        )
