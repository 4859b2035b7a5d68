"""Almost no group of completions has two different rewards, so that almost nothing is learned from the reward."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_SHARE = 0.9
_STEPS = 8


class ZeroVarianceGroups(Monitor):
    """Over 8 logged steps 90 % of the groups had equal rewards.

    Where a sampler draws until groups differ, those count that it drew. A group of equal rewards has no advantage: in
    GRPO and its relatives its completions move nothing (Yu et al. 2025, arXiv 2503.14476, section 3.2).
    """

    name = "zero_variance_groups"
    summary = "in almost all groups all rewards are equal"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._share = Trace(last=max(3, min(_STEPS, facts.steps // 2)))
        self._reward = Trace(last=max(3, min(_STEPS, facts.steps // 2)))

    def observe(self, step: LoggedStep) -> Finding | None:
        share = step.values.get("frac_reward_zero_std")
        if (kept := step.values.get("sampling/kept_share")) is not None:
            share = 1 - kept
        self._reward.add(step.step, step.values.get("reward"))
        if not self._share.add(step.step, share) or self._share.last < _SHARE:
            return None
        return Finding(
            self._share.onset,
            f"in {self._share.last:.0%} of the groups all rewards were equal (the mean reward was {self._reward.first:.3g} at "
            f"first and is {self._reward.last:.3g})",
            "the prompts are too easy or too hard for the model, or it writes the same everywhere",
            "choose other prompts (data.level, sampler=dynamic, method=pass-band) or larger groups (rollout.group_size); where "
            "the reward fell, lower the learning rate",
        )
