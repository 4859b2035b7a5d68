"""The policy lost what it could: rewards fell, and now all completions get one and the same."""

from __future__ import annotations

from collections import deque

from rlllm.evals.monitors.dynamics.base import WINDOW, Finding, LoggedStep, Monitor, TrainingFacts

_SPREAD_LEFT = 0.25
_FALL = 0.4


class PolicyCollapse(Monitor):
    """For 5 logged steps the reward was lower than its best mean by 0.4 of the largest spread, of which a quarter is left.

    The spread is the standard deviation of the rewards of a step. A policy that solved its task has no spread left either, but
    its reward did not fall.
    """

    name = "policy_collapse"
    summary = "rewards fell, and all completions get the same"
    ends = True

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=WINDOW)
        self._best = -float("inf")
        self._spread = 0.0

    def observe(self, step: LoggedStep) -> Finding | None:
        reward, spread = step.values.get("reward"), step.values.get("reward_std")
        if reward is None or spread is None:
            return None
        self._recent.append((step.step, reward, spread))
        mean = sum(row[1] for row in self._recent) / len(self._recent)
        self._best, self._spread = max(self._best, mean), max(self._spread, spread)
        if len(self._recent) < WINDOW or not self._spread:
            return None
        fell = max(row[1] for row in self._recent) < self._best - _FALL * self._spread
        equal = max(row[2] for row in self._recent) < _SPREAD_LEFT * self._spread
        if not (fell and equal):
            return None
        return Finding(
            self._recent[0][0],
            f"the mean reward fell from {self._best:.3g} to {mean:.3g}, and hardly differs between completions any more "
            f"(standard deviation {self._recent[-1][2]:.2g}, it was {self._spread:.2g})",
            "the updates were too large, and the model writes what no longer earns anything",
            "lower the learning rate; what it writes now: rlllm runs show RUN --samples last",
        )
