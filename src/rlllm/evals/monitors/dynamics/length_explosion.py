"""Completions grow, and what they are worth does not."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts
from rlllm.evals.monitors.dynamics.unpaid_length import UnpaidLength

_TIMES = 1.75


class LengthExplosion(Monitor):
    """Over 5 logged steps completions were 1.75 times as long as in the first 3, and the first reward is no higher.

    Growth that pays is no finding: a model that learns to reason writes more.
    """

    name = "length_explosion"
    summary = "completions grow, and the first reward does not"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._seen = UnpaidLength()

    def observe(self, step: LoggedStep) -> Finding | None:
        if not self._seen.add(step, self.facts) or self._seen.length.last < _TIMES * self._seen.length.first:
            return None
        return Finding(
            self._seen.length.onset,
            self._seen.describe("grew"),
            "length is paid for, or the model no longer ends its answers",
            "charge for length (rewards overlong or length), and see what earns most: rlllm runs show RUN --samples best",
        )
