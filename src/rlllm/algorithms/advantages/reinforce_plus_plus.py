"""Advantages whose scale comes from the whole rollout, not from one group. Statistics run over the rollouts of all processes.

Completions that no reward could judge stand in no statistic and get advantage 0. Torch is imported when the first rollout
is credited, so that a plan can check the fields without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class ReinforcePlusPlus:
    """REINFORCE++ (Hu 2025, arXiv 2501.03262): the reward to go of each token, normalised over the rollout's tokens.

    The reward to go is the completion's reward minus the KL penalties from the token on (`kl.where=reward`), undiscounted.
    Nothing is compared within a group, so one completion a prompt is enough.
    """

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B, T) advantages."""
        from rlllm.algorithms.advantages.gae import judged, token_rewards

        returns = token_rewards(batch).flip(1).cumsum(1).flip(1)
        return standardised(returns, judged(batch))


@dataclass(frozen=True)
class ReinforcePlusPlusBaseline:
    """REINFORCE++ with a baseline (Hu 2025, arXiv 2501.03262): reward minus group mean, normalised over the rollout's
    completions."""

    compares_group: ClassVar[bool] = True

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        centred, known = from_group_mean(batch.grouped)
        return standardised(centred, known).view(-1)


@dataclass(frozen=True)
class LitePPO:
    """Reward minus group mean over the deviation of all rewards of the rollout (Liu et al. 2025, arXiv 2508.08221).

    TRL's `scale_rewards=batch` is the same where every completion is judged and no KL penalty is part of the reward.
    """

    compares_group: ClassVar[bool] = True

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        centred, known = from_group_mean(batch.grouped)
        rewards = batch.grouped.masked_fill(~known, 0.0)
        _, variance, count = moments(rewards, known)
        unbiased = variance * count / (count - 1).clamp(min=1)
        return (centred / (unbiased.sqrt() + 1e-4)).view(-1)


def from_group_mean(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """(N, G) rewards, NaN where undefined: their distance from the mean of the group's known ones, 0 where undefined; and
    which are known, both (N, G)."""
    known = ~rewards.isnan()
    values = rewards.masked_fill(~known, 0.0)
    mean = values.sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp(min=1)
    return (values - mean).masked_fill(~known, 0.0), known


def standardised(values: Tensor, mask: Tensor) -> Tensor:
    """`values` at mean 0 and deviation 1 over the places of `mask` (same shape, 0/1) in all processes, 0 elsewhere."""
    mean, variance, _ = moments(values, mask)
    return (values - mean) * (variance + 1e-8).rsqrt() * mask


def moments(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased variance and number of the `values` under `mask` in all processes, each a scalar."""
    mean, count = _mean(values, mask)
    variance, _ = _mean((values - mean) ** 2, mask)
    return mean, variance, count


def _mean(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    import torch

    totals = torch.stack([(values * mask).sum(), mask.sum().to(values.dtype)])
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(totals)
    return totals[0] / totals[1].clamp(min=1), totals[1]
