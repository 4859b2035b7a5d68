"""Advantages whose scale comes from the whole rollout, not from one group. Statistics run over the rollouts of all processes.

Completions that no reward could judge stand in no statistic and get advantage 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.advantages.gae import judged, standardised, token_rewards
from rlllm.algorithms.protocols import Advantage

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class ReinforcePlusPlus(Advantage):
    """REINFORCE++ (Hu 2025, arXiv 2501.03262): the reward to go of each token, normalised over the rollout's tokens.

    The reward to go is the completion's reward minus the KL penalties from the token on (`kl.where=reward`), undiscounted.
    Nothing is compared within a group, so one completion a prompt is enough.
    """

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B, T) advantages."""
        returns = token_rewards(batch).flip(1).cumsum(1).flip(1)
        return standardised(batch, returns, judged(batch))


@dataclass(frozen=True)
class ReinforcePlusPlusBaseline(Advantage):
    """REINFORCE++ with a baseline (Hu 2025, arXiv 2501.03262): reward minus group mean, normalised over the rollout's tokens.

    Every token of a completion has the completion's value, so a long completion counts as often as it has tokens, in the mean
    and in the deviation. verl and OpenRLHF do the same; the variance is OpenRLHF's, without verl's factor n / (n - 1).
    """

    compares_group = True

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B, T) advantages."""
        centred, _ = from_group_mean(batch.group_rewards)
        return standardised(batch, centred.view(-1, 1).expand(batch.loss_mask.shape), judged(batch))


@dataclass(frozen=True)
class LitePPO(Advantage):
    """Reward minus group mean over the deviation of all rewards of the rollout (Liu et al. 2025, arXiv 2508.08221).

    TRL's `scale_rewards=batch` is the same where every completion is judged and no KL penalty is part of the reward.
    """

    compares_group = True

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        centred, defined = from_group_mean(batch.group_rewards)
        rewards = batch.group_rewards.masked_fill(~defined, 0.0)
        _, variance, count = batch.moments(rewards, defined)
        unbiased = variance * count / (count - 1).clamp(min=1)
        return (centred / (unbiased.sqrt() + 1e-4)).view(-1)


def from_group_mean(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """(N, G) rewards, NaN where undefined: their distance from the mean of the group's defined ones, 0 where undefined; and
    which are defined, both (N, G)."""
    defined = ~rewards.isnan()
    values = rewards.masked_fill(~defined, 0.0)
    mean = values.sum(dim=1, keepdim=True) / defined.sum(dim=1, keepdim=True).clamp(min=1)
    return (values - mean).masked_fill(~defined, 0.0), defined
