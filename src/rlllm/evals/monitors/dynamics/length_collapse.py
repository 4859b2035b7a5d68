"""Completions shrink to almost nothing, and what they are worth does not grow."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts
from rlllm.evals.monitors.dynamics.unpaid_length import UnpaidLength

_LEFT = 0.5


class LengthCollapse(Monitor):
    """Over 5 logged steps completions were half as long as in the first 3, and the first reward is no higher."""

    name = "length_collapse"
    summary = "completions shrink, and the first reward does not grow"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._seen = UnpaidLength()

    def observe(self, step: LoggedStep) -> Finding | None:
        if not self._seen.add(step, self.facts) or self._seen.length.last > _LEFT * self._seen.length.first:
            return None
        return Finding(
            self._seen.length.onset,
            self._seen.describe("shrank"),
            "shortness is paid for, or the model gave up answering",
            "lower the weight of what charges for length, and see what earns most: rlllm runs show RUN --samples best",
        )
