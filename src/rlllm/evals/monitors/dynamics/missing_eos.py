"""The model no longer ends what it writes."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_SHARE = 0.9
_AT_THE_START = 0.5


class MissingEos(Monitor):
    """Over 5 logged steps 90 % of the completions ended at the length limit, and less than half of the first ones did."""

    name = "missing_eos"
    summary = "the model no longer ends what it writes"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._cut = Trace(first=1)

    def observe(self, step: LoggedStep) -> Finding | None:
        known = self._cut.add(step.step, step.values.get("completions/clipped_ratio"))
        if not known or self._cut.last < _SHARE or self._cut.first >= _AT_THE_START:
            return None
        return Finding(
            self._cut.onset,
            f"{self._cut.last:.0%} of the completions end at the length limit; in the first step it was {self._cut.first:.0%}",
            "the reward pays for going on, or the policy has lost its end token",
            "charge for length (rewards overlong or eos), or hold the policy closer to its start (beta); what it writes now: "
            "rlllm runs show RUN --samples last",
        )
