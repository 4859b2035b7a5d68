"""Clip-Cov: a few tokens whose log-probability and advantage vary together do not learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.covariance import check_fraction, covariance, share
from rlllm.algorithms.protocols import Mask
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class ClipCov(Mask):
    """A random few of the tokens whose covariance lies in a band do not learn (Cui et al. 2025, arXiv 2505.22617).

    The authors' code draws anew in every minibatch, under the current policy, and divides the loss by all tokens. Here the
    draw is made once a rollout of a process, under the policy that sampled, and the loss divides by the tokens left.
    """

    fraction: float = 2e-4
    """Tokens drawn, as a share of all that could learn; at least one token unless 0, and no more than lie in the band."""
    low: float = 1.0
    high: float = 5.0
    """Ends of the band, exclusive."""
    needs = ("logps",)

    def __post_init__(self) -> None:
        check_fraction("mask clip-cov", self.fraction)
        if not self.low < self.high:
            raise ConfigError("mask clip-cov: low is below high", given=f"low={self.low} high={self.high}")

    def __call__(self, batch: RolloutBatch) -> Tensor:
        import torch

        assert batch.logps is not None
        assert batch.advantages is not None
        advantages = batch.advantages.unsqueeze(1) if batch.advantages.dim() == 1 else batch.advantages
        values = covariance(batch.logps, advantages, batch.loss_mask)
        candidates = (batch.loss_mask.bool() & (values > self.low) & (values < self.high)).flatten().nonzero().flatten()
        count = min(share(self.fraction, batch.loss_mask), len(candidates))
        if not count:
            return batch.loss_mask
        left_out = candidates[torch.randperm(len(candidates), device=candidates.device)[:count]]
        return batch.loss_mask.flatten().index_fill(0, left_out, 0).view_as(batch.loss_mask)
