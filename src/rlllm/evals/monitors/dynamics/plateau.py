"""The reward does not grow."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts
from rlllm.evals.monitors.overoptimization import change

_FEWEST = 30
_SHARE = 0.3
_RELEVANT = 0.15
_LOOK_EVERY = 5
_CONFIDENCE = 0.99


class Plateau(Monitor):
    """The mean reward of the last 30 % of the steps is at most 0.15 deviations above that of the first, by its 99 % interval.

    The deviation is that of the rewards of a step, so that any scale will do. Looked at from step 30 on and half of the run,
    every 5 logged steps.
    """

    name = "plateau"
    summary = "the mean reward does not grow"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._rewards: list[tuple[int, float, float]] = []

    def observe(self, step: LoggedStep) -> Finding | None:
        reward, spread = step.values.get("reward"), step.values.get("reward_std")
        if reward is None or spread is None:
            return None
        self._rewards.append((step.step, reward, spread))
        seen = len(self._rewards)
        if seen < _FEWEST or seen % _LOOK_EVERY or step.step < 0.5 * self.facts.steps:
            return None
        end = round(_SHARE * seen)
        first, last = self._rewards[:end], self._rewards[-end:]
        grown = change([row[1] for row in first], [row[1] for row in last], _CONFIDENCE)
        scale = sum(row[2] for row in first) / end
        if grown.high > _RELEVANT * scale:
            return None
        return Finding(
            first[0][0],
            f"the mean reward moved by {grown.format(3)} from the first {end} steps to the last",
            "the policy does not learn from this reward at this rate, or learned all it can",
            "a higher learning rate, other prompts (data.level), or a reward that differs more within groups",
        )
