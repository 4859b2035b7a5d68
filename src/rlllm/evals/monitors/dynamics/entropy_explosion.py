"""The policy turns to noise."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_TIMES = 3.0
_SHARE_OF_UNIFORM = 0.1


class EntropyExplosion(Monitor):
    """Over 5 logged steps the entropy was 3 times that of the first 3, and above a tenth of ln V, that of a uniform policy."""

    name = "entropy_explosion"
    summary = "the policy turns to noise"
    ends = True

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._entropy = Trace()

    def observe(self, step: LoggedStep) -> Finding | None:
        if not self.facts.samples or not self._entropy.add(step.step, step.values.get("entropy")):
            return None
        first, last = self._entropy.first, self._entropy.last
        if last < _TIMES * first or last < _SHARE_OF_UNIFORM * self.facts.uniform_loss:
            return None
        return Finding(
            self._entropy.onset,
            f"the entropy rose from {first:.3g} to {last:.3g} nats a token; a uniform choice has {self.facts.uniform_loss:.3g}",
            "an entropy bonus that outweighs the reward, or updates that are too large",
            "lower entropy_coef or the learning rate",
        )
