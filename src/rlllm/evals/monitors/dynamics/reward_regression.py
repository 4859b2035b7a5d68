"""The first reward, which decides what passes, falls while the run trains."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts
from rlllm.evals.monitors.overoptimization import change

_FEWEST = 10
_LOOK_EVERY = 5
_SHARE = 0.3
_FALL = 0.3
_CONFIDENCE = 0.999


class RewardRegression(Monitor):
    """The mean of the first reward fell by 0.3 of its deviation, and the whole 99.9 % interval of the change is below 0.

    The last 30 % of the logged steps are compared with the first, from step 10 on, every 5 steps. The deviation is that of the
    first 10 steps. The interval is wide, since a curriculum that makes its prompts harder lowers rewards without a fault.
    """

    name = "reward_regression"
    summary = "the first reward falls"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._name = next(iter(facts.weights), None)
        self._rewards: list[tuple[int, float, float]] = []

    def observe(self, step: LoggedStep) -> Finding | None:
        value = self.facts.first_reward(step.values)
        if value is None:
            return None
        self._rewards.append((step.step, value, step.values.get(f"rewards/{self._name}/std", 0.0)))
        seen = len(self._rewards)
        if seen < _FEWEST or seen % _LOOK_EVERY:
            return None
        end = round(_SHARE * seen)
        first, last = self._rewards[:end], self._rewards[-end:]
        fell = change([row[1] for row in first], [row[1] for row in last], _CONFIDENCE)
        deviation = sum(row[2] for row in self._rewards[:_FEWEST]) / _FEWEST
        if fell.high >= 0 or -fell.estimate < _FALL * deviation:
            return None
        return Finding(
            last[0][0],
            f"{self._name} changed by {fell.format(3)} from the first {end} steps to the last",
            "something else is paid for, a weight has the wrong sign, or the updates are too large",
            "look at weights and signs of the rewards; lower the learning rate; rlllm runs show RUN --samples last",
        )
