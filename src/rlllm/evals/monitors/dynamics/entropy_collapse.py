"""The policy has become deterministic, so that it explores nothing."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_LEFT = 0.1
_LEAST = 0.01


class EntropyCollapse(Monitor):
    """Over 5 logged steps the entropy was a tenth of that of the first 3, or below 0.01 nats a token.

    Only of runs that sample, and not where the entropy was as low from the start. Some fall belongs to learning: reward is
    bought with entropy (Cui et al. 2025, arXiv 2505.22617).
    """

    name = "entropy_collapse"
    summary = "the policy has become deterministic"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._entropy = Trace()

    def observe(self, step: LoggedStep) -> Finding | None:
        if not self.facts.samples or not self._entropy.add(step.step, step.values.get("entropy")):
            return None
        first, last = self._entropy.first, self._entropy.last
        if last >= max(_LEFT * first, _LEAST) or last >= first / 2:
            return None
        return Finding(
            self._entropy.onset,
            f"the entropy fell from {first:.3g} to {last:.2g} nats a token",
            "the policy writes nearly the same to a prompt each time, so that groups have nothing to compare",
            "a higher epsilon_high (clip-higher), method=adaptive-entropy, method=clip-cov, or a lower learning rate",
        )
