"""Covariance of log-probability and advantage, token by token (Cui et al. 2025, arXiv 2505.22617).

To first order, a token's part in the change of entropy is minus the covariance of its log-probability and its advantage. The
mask `clip-cov` and the loss `kl-cov` choose tokens by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


def covariance(logps: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """(B, T) products of each token's distances from the mean log-probability and the mean advantage of the `mask`'s tokens.

    Args:
        logps: (B, T) in nats.
        advantages: (B, T), or (B, 1) for all tokens of a row.
        mask: (B, T) 0/1. Values outside of it mean nothing.
    """
    count = mask.sum().clamp(min=1)
    inside = mask.bool()

    def centred(values: Tensor) -> Tensor:
        values = values.expand_as(logps).masked_fill(~inside, 0.0)
        return values - values.sum() / count

    return centred(logps) * centred(advantages)


def share(fraction: float, mask: Tensor) -> int:
    """How many tokens a fraction of the `mask`'s is: rounded down, but at least one of them unless the fraction is 0."""
    total = int(mask.sum())
    return min(total, max(1, int(fraction * total))) if fraction else 0


def check_fraction(component: str, fraction: float) -> None:
    """Raise ConfigError unless the fraction is between 0 and 1."""
    if not 0 <= fraction <= 1:
        raise ConfigError(f"{component}: fraction is between 0 and 1", given=fraction)
