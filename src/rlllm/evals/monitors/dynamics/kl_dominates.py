"""The KL term outweighs the reward, so that the policy cannot move."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import BASELINE, Finding, LoggedStep, Monitor, Trace, TrainingFacts

_TIMES = 10.0


class KLDominates(Monitor):
    """For 3 logged steps beta times the KL divergence was above 10: ten deviations of an advantage a token."""

    name = "kl_dominates"
    summary = "the KL term outweighs the reward"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._kl = Trace(last=BASELINE, first=1)

    def observe(self, step: LoggedStep) -> Finding | None:
        beta = float(self.facts.settings.get("beta") or 0.0)
        if not beta or not self.facts.samples or not self._kl.add(step.step, step.values.get("kl")):
            return None
        if beta * self._kl.lowest < _TIMES:
            return None
        return Finding(
            self._kl.onset,
            f"beta times the KL divergence is {beta * self._kl.last:.3g} a token (beta {beta:g}), where advantages are about 1",
            "the KL term holds the policy where it is, whatever the reward says",
            "lower beta; common values lie between 0 and 0.1",
        )
