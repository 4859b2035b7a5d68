"""Generalised advantage estimation: advantage of each token from a critic's values. With it the loop is PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Advantage
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class GAE(Advantage):
    """GAE (Schulman et al. 2015, arXiv 1506.02438, eq. 16) over the tokens of a completion.

    The reward of a token is minus its KL penalty; the last token adds the completion's reward. The value after it is 0.

    Args:
        gamma: discount of a token step.
        lam: the actor's lambda.
        critic_lam: lambda of the critic's targets; 1 gives the unbiased return (decoupled as in VC-PPO, arXiv 2503.01491).
        length_alpha: length-adaptive actor lambda, 1 - 1 / (alpha * length) (VAPO, arXiv 2504.05118, eq. 9); replaces `lam`.
        whiten_rewards: divide token rewards by their deviation over the rollout, mean kept.
        whiten: shift and scale advantages to mean 0, deviation 1 over the rollout's tokens.
    """

    gamma: float = 1.0
    lam: float = 0.95
    critic_lam: float = 1.0
    length_alpha: float | None = None
    whiten_rewards: bool = False
    whiten: bool = True
    needs = ("values",)
    per_token = True

    def __post_init__(self) -> None:
        for name in ("gamma", "lam", "critic_lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"advantage gae: {name} is between 0 and 1", given=getattr(self, name))
        if self.length_alpha is not None and self.length_alpha <= 0:
            raise ConfigError("advantage gae: length_alpha is above 0", given=self.length_alpha)

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B, T) advantages; 0 in rows no reward could judge."""
        assert batch.values is not None
        mask = judged(batch)
        raw = gae(self._rewards(batch), batch.values, mask, self.gamma, self._lambda(batch.loss_mask))
        return standardised(batch, raw, mask) if self.whiten else raw

    def value_targets(self, batch: RolloutBatch) -> Tensor:
        """(B, T) returns for the critic; its own values in rows no reward could judge, which teach it nothing."""
        assert batch.values is not None
        mask = judged(batch)
        lam = batch.values.new_full((len(mask),), self.critic_lam)
        raw = gae(self._rewards(batch), batch.values, mask, self.gamma, lam)
        return raw + batch.values

    def _rewards(self, batch: RolloutBatch) -> Tensor:
        rewards = token_rewards(batch)
        if not self.whiten_rewards:
            return rewards
        mask = judged(batch)
        mean, variance, _ = batch.moments(rewards, mask)
        return (rewards - mean) * (variance + 1e-8).rsqrt() + mean

    def _lambda(self, loss_mask: Tensor) -> Tensor:
        lengths = loss_mask.sum(1).float()
        if self.length_alpha is None:
            return lengths.new_full(lengths.shape, self.lam)
        return (1 - 1 / (self.length_alpha * lengths.clamp(min=1))).clamp(min=0.0)


def judged(batch: RolloutBatch) -> Tensor:
    """(B, T) 0/1: the tokens of `loss_mask` in rows that have a reward."""
    return batch.loss_mask * (~batch.summed_reward.isnan()).unsqueeze(1)


def token_rewards(batch: RolloutBatch) -> Tensor:
    """(B, T): minus the KL penalty at each token, the completion's reward added at its last."""
    import torch

    penalty = torch.zeros_like(batch.loss_mask, dtype=torch.float32) if batch.kl_penalty is None else batch.kl_penalty
    rewards = -penalty * batch.loss_mask
    positions = torch.arange(batch.loss_mask.size(1), device=rewards.device)
    last = (batch.loss_mask * positions).argmax(1)
    total = batch.summed_reward.nan_to_num(nan=0.0) * batch.loss_mask.any(1)
    return rewards.scatter_add(1, last.unsqueeze(1), total.unsqueeze(1).to(rewards.dtype))


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: Tensor) -> Tensor:
    """Advantages A_t = d_t + gamma * lam * A_{t+1}, d_t = r_t + gamma * V_{t+1} - V_t over the tokens of `mask`, 0 elsewhere.

    Args:
        rewards, values, mask: (B, T); tokens outside `mask` are stepped over.
        gamma: discount.
        lam: (B,) lambda of each row.
    """
    import torch

    later = torch.zeros_like(values[:, 0])
    after = torch.zeros_like(later)
    lam = lam.to(values)
    columns = []
    for t in reversed(range(values.size(1))):
        inside = mask[:, t].bool()
        advantage = rewards[:, t] + gamma * after - values[:, t] + gamma * lam * later
        columns.append(torch.where(inside, advantage, torch.zeros_like(advantage)))
        later = torch.where(inside, advantage, later)
        after = torch.where(inside, values[:, t], after)
    return torch.stack(columns[::-1], dim=1)


def standardised(batch: RolloutBatch, values: Tensor, mask: Tensor) -> Tensor:
    """`values` at mean 0 and deviation 1 over the places of `mask` (same shape, 0/1) in all processes, 0 elsewhere."""
    mean, variance, _ = batch.moments(values, mask)
    return (values - mean) * (variance + 1e-8).rsqrt() * mask
