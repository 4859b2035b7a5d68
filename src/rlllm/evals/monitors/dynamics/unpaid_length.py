"""How long completions are beside what they are worth, for the two monitors of length."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import LoggedStep, Trace, TrainingFacts


class UnpaidLength:
    """Mean length of the completions and mean of the first reward, over the first logged steps and over the last."""

    def __init__(self) -> None:
        self.length = Trace()
        self._reward = Trace()

    def add(self, step: LoggedStep, facts: TrainingFacts) -> bool:
        """Take in a step; returns whether both are known, and the first reward is no higher than at the start."""
        paid = self._reward.add(step.step, facts.first_reward(step.values))
        known = self.length.add(step.step, step.values.get("completions/mean_length"))
        return known and paid and self._reward.last <= self._reward.first

    def describe(self, moved: str) -> str:
        """Both as a clause; `moved` is what completions did, such as "grew"."""
        return (
            f"completions {moved} from {self.length.first:.0f} to {self.length.last:.0f} tokens, while the first reward went "
            f"from {self._reward.first:.3g} to {self._reward.last:.3g}"
        )
