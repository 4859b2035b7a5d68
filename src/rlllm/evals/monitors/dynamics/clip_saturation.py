"""Most of an update is clipped away."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_SHARE = 0.25


class ClipSaturation(Monitor):
    """Over 5 logged steps the ratio of a quarter of the tokens lay outside of the clip range.

    Not of ratios of whole completions (GSPO), whose range is a thousandth as wide, so that many lie outside of it.
    """

    name = "clip_saturation"
    summary = "most of an update is clipped away"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._clipped = Trace()

    def observe(self, step: LoggedStep) -> Finding | None:
        if self.facts.settings.get("importance_sampling_level") == "sequence":
            return None
        if not self._clipped.add(step.step, step.values.get("clip_ratio/region_mean")) or self._clipped.last < _SHARE:
            return None
        return Finding(
            self._clipped.onset,
            f"the ratio of {self._clipped.last:.0%} of the tokens is outside of the clip range",
            "the policy moved far from the one that sampled: too many updates of one rollout, or too large ones",
            "lower num_iterations or steps_per_generation, or the learning rate",
        )
