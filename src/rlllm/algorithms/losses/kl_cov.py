"""KL-Cov: the tokens whose log-probability and advantage vary together most pay a KL term."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.covariance import check_fraction, covariance, share
from rlllm.algorithms.losses.base import LossInputs, log_ratios
from rlllm.algorithms.protocols import Loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class KLCov(Loss):
    """-r A, plus beta |log r| on the tokens of largest covariance; mean over tokens (Cui et al. 2025, arXiv 2505.22617).

    |log r| is the estimator of the authors' code (the absolute "k1"). Its gradient is zero while the policy still is the one
    that sampled, so it acts from the second update on a rollout. The covariance is taken over the tokens of one micro-batch.
    """

    beta: float = 1.0
    fraction: float = 2e-3
    """Tokens that pay, as a share of all that learn; at least one token unless 0. 2e-3 and 2e-4 in the paper, by size."""
    aggregation: str = "token-mean"

    def __post_init__(self) -> None:
        check_fraction("loss kl-cov", self.fraction)

    def at_ratio_one(self, settings: Mapping[str, Any]) -> str:
        return "token"

    def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        return -log_ratios(logps, inputs).exp() * inputs.advantages + self.penalty(logps, inputs)

    def penalty(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        """(B, T) beta |log r| at the chosen tokens, 0 elsewhere."""
        values = covariance(logps.detach(), inputs.advantages, inputs.mask)
        chosen = largest(values, inputs.mask, share(self.fraction, inputs.mask))
        return self.beta * log_ratios(logps, inputs).abs() * chosen


def largest(values: Tensor, mask: Tensor, count: int) -> Tensor:
    """(B, T) True at the `count` largest values under `mask`."""
    import torch

    flat = values.masked_fill(~mask.bool(), -torch.inf).flatten()
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    return chosen.index_fill(0, flat.topk(count).indices, True).view_as(mask)
