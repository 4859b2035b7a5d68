"""The policy turns to noise."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_TIMES = 3.0
_SHARE_OF_UNIFORM = 0.1
_TIMES_AT_A_LOSS = 2.0
_FALL = 0.4


class EntropyExplosion(Monitor):
    """Over 5 logged steps the entropy was 3 times that of the first 3, and above a tenth of ln V, that of a uniform policy.

    Twice that of the first steps is enough where the reward fell meanwhile by 0.4 of its deviation at the start: a policy that
    explores gains by it.
    """

    name = "entropy_explosion"
    summary = "the policy turns to noise"
    ends = True

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._entropy = Trace()
        self._reward = Trace()
        self._deviation = Trace()

    def observe(self, step: LoggedStep) -> Finding | None:
        self._reward.add(step.step, step.values.get("reward"))
        self._deviation.add(step.step, step.values.get("reward_std"))
        if not self.facts.samples or not self._entropy.add(step.step, step.values.get("entropy")):
            return None
        first, last = self._entropy.first, self._entropy.last
        noise = last > _TIMES * first and last > _SHARE_OF_UNIFORM * self.facts.uniform_loss
        if not (noise or (last > _TIMES_AT_A_LOSS * first and self._reward_fell())):
            return None
        return Finding(
            self._entropy.onset,
            f"the entropy rose from {first:.3g} to {last:.3g} nats a token; a uniform choice has {self.facts.uniform_loss:.3g}",
            "an entropy bonus that outweighs the reward, or updates that are too large",
            "lower entropy_coef or the learning rate",
        )

    def _reward_fell(self) -> bool:
        if not self._reward.full or not self._deviation.full:
            return False
        return self._reward.last < self._reward.first - _FALL * self._deviation.first
