"""Token covariance against entropy collapse: the few tokens that move entropy most are detached, or pulled back.

Both come from Cui et al. 2025, arXiv 2505.22617: to first order, a token's part in the change of entropy is minus the
covariance of its log-probability and its advantage. Torch is imported when the first rollout is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch
    from rlllm.algorithms.losses.surrogates import Given


@dataclass(frozen=True)
class ClipCovariance:
    """Clip-Cov: a random few of the tokens whose covariance lies in a band do not learn.

    The authors' code draws anew in every minibatch, under the current policy, and divides the loss by all tokens; here the
    draw is made once a rollout of a process, under the policy that sampled, and the loss divides by the tokens left.
    """

    fraction: float = 2e-4
    """Tokens drawn, as a share of all loss_mask ones; at least one token unless 0, and no more than lie in the band."""
    low: float = 1.0
    high: float = 5.0
    """Ends of the band, exclusive."""
    needs: ClassVar[tuple[str, ...]] = ("logps",)

    def __post_init__(self) -> None:
        _check_fraction("mask clip-cov", self.fraction)
        if not self.low < self.high:
            raise ConfigError("mask clip-cov: low is below high", given=f"low={self.low} high={self.high}")

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B, T) mask."""
        import torch

        assert batch.logps is not None
        assert batch.advantages is not None
        values = covariance(batch.logps, per_token(batch.advantages), batch.loss_mask)
        candidates = (batch.loss_mask.bool() & (values > self.low) & (values < self.high)).flatten().nonzero().flatten()
        count = min(share(self.fraction, batch.loss_mask), len(candidates))
        if not count:
            return batch.loss_mask
        drawn = candidates[torch.randperm(len(candidates), device=candidates.device)[:count]]
        return batch.loss_mask.flatten().index_fill(0, drawn, 0).view_as(batch.loss_mask)


@dataclass(frozen=True)
class KLCovariance:
    """KL-Cov: the tokens of largest covariance pay beta times |log-ratio| to the policy that sampled.

    That is the estimator of the authors' code (the absolute "k1"). Its gradient is zero while the policy still is the one
    that sampled, so it acts from the second update on a rollout on. Covariance is taken over the tokens of one forward pass.
    """

    beta: float = 1.0
    fraction: float = 2e-3
    """Tokens that pay, as a share of all that learn; at least one token unless 0. 2e-3 and 2e-4 in the paper, by size."""

    def __post_init__(self) -> None:
        _check_fraction("surrogate kl-cov", self.fraction)

    def __call__(self, logps: Tensor, given: Given) -> Tensor:
        return logps

    def penalty(self, logps: Tensor, given: Given) -> Tensor:
        """(B, T) to add to the loss of each token."""
        values = covariance(logps.detach(), given.advantages, given.mask)
        chosen = largest(values, given.mask, share(self.fraction, given.mask))
        return self.beta * (logps - given.old_logps).abs() * chosen


def covariance(logps: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """(B, T) products of each token's distances from the mean log-probability and the mean advantage of the `mask`'s tokens.

    Args:
        logps: (B, T).
        advantages: (B, T), or (B, 1) for all tokens of a row.
        mask: (B, T) 0/1. Values outside of it mean nothing.
    """
    count = mask.sum().clamp(min=1)
    inside = mask.bool()

    def centred(values: Tensor) -> Tensor:
        values = values.expand_as(logps).masked_fill(~inside, 0.0)
        return values - values.sum() / count

    return centred(logps) * centred(advantages)


def largest(values: Tensor, mask: Tensor, count: int) -> Tensor:
    """(B, T) True at the `count` largest values under `mask`."""
    import torch

    flat = values.masked_fill(~mask.bool(), -torch.inf).flatten()
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    return chosen.index_fill(0, flat.topk(count).indices, True).view_as(mask)


def share(fraction: float, mask: Tensor) -> int:
    """How many tokens a fraction of the `mask`'s is: rounded down, but at least one of them unless the fraction is 0."""
    total = int(mask.sum())
    return min(total, max(1, int(fraction * total))) if fraction else 0


def per_token(advantage: Tensor) -> Tensor:
    """A advantage's (B,) or (B, T) result, to broadcast against tokens."""
    return advantage.unsqueeze(1) if advantage.dim() == 1 else advantage


def _check_fraction(part: str, fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ConfigError(f"{part}: fraction is between 0 and 1", given=fraction)
