"""Completions shrink to almost nothing, and what they are worth does not grow."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_LEFT = 0.5


class LengthCollapse(Monitor):
    """Over 5 logged steps completions were half as long as in the first 3, and the first reward is no higher."""

    name = "length_collapse"
    summary = "completions shrink, and the first reward does not grow"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._length = Trace()
        self._reward = Trace()
        self._known = False

    def observe(self, step: LoggedStep) -> Finding | None:
        self._known = self._reward.add(step.step, self.facts.first_reward(step.values))
        if not self._length.add(step.step, step.values.get("completions/mean_length")):
            return None
        first, last = self._length.first, self._length.last
        if last > _LEFT * first or not self._known or self._reward.last > self._reward.first:
            return None
        return Finding(
            self._length.onset,
            f"completions shrank from {first:.0f} to {last:.0f} tokens, while the first reward went from "
            f"{self._reward.first:.3g} to {self._reward.last:.3g}",
            "shortness is paid for, or the model gave up answering",
            "lower the weight of what charges for length, and see what earns most: rlllm runs show RUN --samples best",
        )
