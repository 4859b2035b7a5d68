"""`RolloutBatch`: the one value that the slots read: completions with their rewards and signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


def _one_process(values: Tensor) -> Tensor:
    return values


def _over_group_deviation(rewards: Tensor, weights: Tensor, group_size: int) -> Tensor:
    return group_advantages(rewards, weights, group_size, "group")


@dataclass(frozen=True)
class RolloutBatch:
    """Completions of this process with their scores; groups are contiguous and whole.

    B rows, P prompt tokens, T completion tokens, R rewards, G completions a group.
    """

    prompt_ids: Tensor
    """(B, P) int, padded on the left."""
    prompt_mask: Tensor
    """(B, P) 0/1."""
    completion_ids: Tensor
    """(B, T) int, padded on the right."""
    loss_mask: Tensor
    """(B, T) 0/1: completion tokens that the loss may count; padding and tool output are 0."""
    group_size: int
    """G."""
    rewards: Tensor
    """(B, R) float; NaN where a reward could not judge."""
    weights: Tensor
    """(R,) float: weight of each reward."""
    trl_advantages: Tensor
    """(B,) float: the group-relative advantages that TRL computes under its setting `scale_rewards`."""
    extra_fields: list[dict[str, Any]]
    """B mappings: the other columns of each completion's row of the data set."""
    names: list[str] = field(default_factory=list)
    """R reward names, in the order of the columns of `rewards`."""
    kl_penalty: Tensor | None = None
    """(B, T) float: KL penalty of each token where it is part of the reward (`kl.where=reward`), else None."""
    advantages: Tensor | None = None
    """(B,) or (B, T) float: what the advantage estimator returned; None until it has been called."""
    signals: Mapping[str, Any] = field(default_factory=dict)
    """Signal name -> value, of every signal that a component of this run needs."""
    step: int = 0
    """Optimizer steps made before this rollout."""
    normalise: Callable[[Tensor, Tensor, int], Tensor] = _over_group_deviation
    """(B, R) rewards, (R,) weights and G to (B,) advantages as TRL computes them under this run's `scale_rewards`: for an
    estimator that adds a term to the rewards."""
    reduce: Callable[[Tensor], Tensor] = _one_process
    """Sum of a tensor over all processes; every statistic over a rollout goes through it, so that processes agree."""

    @property
    def logps(self) -> Tensor | None:
        """(B, T) float: log-probabilities (nats) of the completion tokens under the policy that sampled them."""
        return self.signals.get("logps")

    @property
    def ref_logps(self) -> Tensor | None:
        """(B, T) float: log-probabilities (nats) under the reference model; None where the run has none (`beta` 0)."""
        return self.signals.get("ref_logps")

    @property
    def entropies(self) -> Tensor | None:
        """(B, T) float: entropy (nats) of the policy's distribution at each token."""
        return self.signals.get("entropies")

    @property
    def values(self) -> Tensor | None:
        """(B, T) float: the critic's estimate before each token."""
        return self.signals.get("values")

    @cached_property
    def summed_reward(self) -> Tensor:
        """(B,) weighted sum of the rewards that judged; NaN where none did."""
        return weighted(self.rewards, self.weights)

    @cached_property
    def kl_shaped_reward(self) -> Tensor:
        """(B,) `summed_reward` minus the KL penalties of the completion's tokens."""
        if self.kl_penalty is None:
            return self.summed_reward
        return self.summed_reward - (self.kl_penalty * self.loss_mask).sum(1)

    @cached_property
    def group_rewards(self) -> Tensor:
        """(B / G, G) view of `kl_shaped_reward`."""
        return self.kl_shaped_reward.view(-1, self.group_size)

    def mean(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of `values` under a mask of the same shape over all processes, and how many they are; two scalars."""
        totals = self.reduce(torch.stack([(values * mask).sum(), mask.sum().to(values.dtype)]))
        return totals[0] / totals[1].clamp(min=1), totals[1]

    def moments(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, biased variance and number of the `values` under `mask` over all processes, each a scalar."""
        mean, count = self.mean(values, mask)
        variance, _ = self.mean((values - mean) ** 2, mask)
        return mean, variance, count


def weighted(rewards: Tensor, weights: Tensor) -> Tensor:
    """(B,) weighted sum of (B, R) rewards, leaving out NaN; NaN where all are."""
    total = (rewards * weights).nansum(dim=1)
    return total.masked_fill(rewards.isnan().all(dim=1), torch.nan)


def group_advantages(
    rewards: Tensor, weights: Tensor, group_size: int, scale: str, aggregation: str = "sum_then_normalize"
) -> Tensor:
    """(B,) advantages of (B, R) rewards, NaN where undefined, as TRL computes them over the batch it has sampled.

    Args:
        weights: (R,).
        scale: TRL's `scale_rewards`: deviations are those of the `group` or the `batch`, or `none` divide.
        aggregation: TRL's `multi_objective_aggregation`; with `normalize_then_sum` every reward is normalised in its group,
            and the sum over the batch, whatever `scale` says.
    """
    undefined = rewards.isnan().all(dim=1)
    if aggregation == "normalize_then_sum":
        grouped = rewards.view(-1, group_size, rewards.size(1))
        normal = (grouped - grouped.nanmean(1, keepdim=True)) / (_deviation(grouped, 1) + 1e-4)
        totals = (normal.view_as(rewards) * weights).nansum(1).masked_fill(undefined, torch.nan)
        return ((totals - totals.nanmean()) / (_deviation(totals, 0) + 1e-4)).nan_to_num(nan=0.0)
    totals = weighted(rewards, weights)
    grouped = totals.view(-1, group_size)
    centred = (grouped - grouped.nanmean(1, keepdim=True)).view(-1)
    if scale == "group":
        centred = centred / (_deviation(grouped, 1).expand_as(grouped).reshape(-1) + 1e-4)
    elif scale == "batch":
        centred = centred / (_deviation(totals, 0) + 1e-4)
    return centred.nan_to_num(nan=0.0)


def _deviation(values: Tensor, dim: int) -> Tensor:
    """Standard deviation of what is not NaN, dimension kept; NaN where fewer than two are known, 0 in groups of one."""
    if values.size(dim) == 1:
        return torch.zeros_like(values)
    count = (~values.isnan()).sum(dim, keepdim=True)
    squares = ((values - values.nanmean(dim, keepdim=True)) ** 2).nanmean(dim, keepdim=True)
    return (squares * torch.where(count > 1, count / (count - 1), torch.nan)).sqrt()
