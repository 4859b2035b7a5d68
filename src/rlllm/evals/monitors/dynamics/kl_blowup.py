"""The policy has left the model that it started from."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_NATS = 1.0


class KLBlowup(Monitor):
    """Over 5 logged steps the KL divergence from the reference was above 1 nat a token, and 3 times that of the first 3 steps.

    Only where it is measured: TRL's `kl`, with a coefficient `beta`.
    """

    name = "kl_blowup"
    summary = "the policy has left its reference"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._kl = Trace()

    def observe(self, step: LoggedStep) -> Finding | None:
        if not self.facts.samples or not self._kl.add(step.step, step.values.get("kl")):
            return None
        if self._kl.last < _NATS or self._kl.last < 3 * self._kl.first:
            return None
        return Finding(
            self._kl.onset,
            f"the KL divergence from the reference rose from {self._kl.first:.2g} to {self._kl.last:.3g} nats a token",
            "the policy writes what its start hardly ever would",
            "raise beta, or lower the learning rate",
        )
