"""Advantages within a group: over the group's deviation (GRPO), or against the mean of the others (RLOO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Advantage

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class Group(Advantage):
    """(reward - group mean) / (group deviation + 1e-4) (Shao et al. 2024, eq. 3), as TRL computes it under `scale_rewards`."""

    compares_group = True
    per_completion = True
    reads_kl_penalty = False

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        return batch.trl_advantages


@dataclass(frozen=True)
class LeaveOneOut(Advantage):
    """Reward minus the mean reward of the group's other completions (Ahmadian et al. 2024, eq. 8).

    Completions no reward could judge are left out of every baseline and get advantage 0, as does one left alone.
    """

    compares_group = True
    per_completion = True

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return leave_one_out(batch.group_rewards).view(-1)


def leave_one_out(rewards: Tensor) -> Tensor:
    """(N, G) rewards, NaN where undefined, to (N, G) leave-one-out advantages."""
    defined = ~rewards.isnan()
    values = rewards.masked_fill(~defined, 0.0)
    others = defined.sum(dim=1, keepdim=True) - 1
    baseline = (values.sum(dim=1, keepdim=True) - values) / others.clamp(min=1)
    return (values - baseline).masked_fill(~(defined & (others > 0)), 0.0)
