"""Almost all completions are cut at the length limit, and were from the start of the run."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_SHARE = 0.9
_FROM_THE_START = 0.5


class Truncation(Monitor):
    """Over 5 logged steps 90 % of the completions ended at the length limit, as at least half of the first ones did.

    A policy that ended its completions at the start and does so no more has another cause: `missing_eos`.
    """

    name = "truncation"
    summary = "almost all completions are cut at the length limit, from the start"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._cut = Trace(last=max(1, min(5, facts.steps)), first=1)

    def observe(self, step: LoggedStep) -> Finding | None:
        known = self._cut.add(step.step, step.values.get("completions/clipped_ratio"))
        if not known or self._cut.last < _SHARE or self._cut.first < _FROM_THE_START:
            return None
        masked = bool(self.facts.settings.get("mask_truncated_completions"))
        done = "they were left out of the loss" if masked else "and trained on as they were cut"
        return Finding(
            self._cut.onset,
            f"{self._cut.last:.0%} of the completions ended at the length limit, {done}",
            "the limit leaves no room for an answer, or the model never ends one (its chat template or end token is wrong)",
            "raise rollout.max_new_tokens; mask_truncated_completions=true leaves cut completions out of the loss; what the "
            "model reads: rlllm data show DATA --tokens --model MODEL",
        )
