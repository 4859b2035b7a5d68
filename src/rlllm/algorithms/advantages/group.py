"""Advantage: the advantage of each completion, (B,), or of each of its tokens, (B, T)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class Group:
    """Reward minus group mean over group deviation (Shao et al. 2024, eq. 3), as TRL computes it under `scale_rewards`."""

    compares_group: ClassVar[bool] = True
    ignores_penalty: ClassVar[bool] = True

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.trl_advantages


@dataclass(frozen=True)
class LeaveOneOut:
    """Reward minus the mean reward of the group's other completions (Ahmadian et al. 2024, eq. 8).

    Completions no reward could judge are left out of every baseline and get advantage 0, as does one left alone.
    """

    compares_group: ClassVar[bool] = True

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return leave_one_out(batch.grouped).view(-1)


def leave_one_out(rewards: Tensor) -> Tensor:
    """(N, G) rewards, NaN where undefined, to (N, G) leave-one-out advantages."""
    known = ~rewards.isnan()
    values = rewards.masked_fill(~known, 0.0)
    others = known.sum(dim=1, keepdim=True) - 1
    baseline = (values.sum(dim=1, keepdim=True) - values) / others.clamp(min=1)
    return (values - baseline).masked_fill(~(known & (others > 0)), 0.0)
