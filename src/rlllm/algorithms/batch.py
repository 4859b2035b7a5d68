"""`RolloutBatch`: the one value that travels through the slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


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
    """(B, T) 0/1: real completion tokens that may learn."""
    group_size: int
    """G."""
    rewards: Tensor
    """(B, R) float; NaN where a reward could not judge."""
    weights: Tensor
    """(R,) float."""
    trl_advantages: Tensor
    """(B,) float: TRL's own group-relative advantages under `scale_rewards`."""
    columns: list[dict[str, Any]]
    """The rows' own columns."""
    names: list[str] = field(default_factory=list)
    """Reward names, in the order of the columns of `rewards`."""
    logps: Tensor | None = None
    """(B, T) float: log-probabilities under the policy that sampled. These and the next only where a component needs them."""
    ref_logps: Tensor | None = None
    """(B, T) float: log-probabilities under the reference model."""
    values: Tensor | None = None
    """(B, T) float: the critic's estimate before each token."""
    greedy: Tensor | None = None
    """(B,) float: reward of the greedy completion of each row's prompt; NaN where it could not be judged."""
    penalty: Tensor | None = None
    """(B, T) float: KL penalty of each token, where it is part of the reward."""
    entropies: Tensor | None = None
    """(B, T) float: entropy of the policy's distribution at each token, in nats."""
    certainty: Tensor | None = None
    """(B, T) float: KL divergence from it to the uniform distribution, KL(uniform || policy), in nats."""
    advantages: Tensor | None = None
    """(B,) or (B, T) float: what the advantage estimator returned; None until it has been called."""

    @cached_property
    def total(self) -> Tensor:
        """(B,) weighted sum of the rewards that judged; NaN where none did."""
        return weighted(self.rewards, self.weights)

    @cached_property
    def penalised(self) -> Tensor:
        """(B,) `total` minus the KL penalty of the completion's tokens."""
        if self.penalty is None:
            return self.total
        return self.total - (self.penalty * self.loss_mask).sum(1)

    @cached_property
    def grouped(self) -> Tensor:
        """(B / G, G) view of `penalised`."""
        return self.penalised.view(-1, self.group_size)


def weighted(rewards: Tensor, weights: Tensor) -> Tensor:
    """(B,) weighted sum of (B, R) rewards, leaving out NaN; NaN where all are."""
    total = (rewards * weights).nansum(dim=1)
    return total.masked_fill(rewards.isnan().all(dim=1), torch.nan)
