"""Surrogates: what the loss sees of each token's log-probability. TRL's loss then forms its ratio, clips and averages.

A surrogate may also have a `penalty`, a term of each token added to the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Given:
    """What a surrogate may look at: rows of a rollout that are about to be learned from. B rows, T completion tokens."""

    old_logps: Tensor
    """(B, T) log-probabilities under the policy that sampled; 0 on off-policy tokens."""
    advantages: Tensor
    """(B, T) float."""
    mask: Tensor
    """(B, T) 0/1: tokens that learn."""
    off_policy: Tensor | None = None
    """(B, T) bool: tokens the policy did not sample."""


@dataclass(frozen=True)
class Plain:
    """The log-probability itself."""

    def __call__(self, logps: Tensor, given: Given) -> Tensor:
        return logps


@dataclass(frozen=True)
class GeometricMean:
    """GMPO's clipping (Zhao et al. 2025, arXiv 2507.20673): token by token, in log space, before the mean is taken.

    A token's log-ratio stops at `width` where the advantage is positive and at -`width` where it is negative or zero, and has
    no gradient beyond. Under `importance_sampling_level=sequence` TRL's weight is exp(mean of log-ratios): the geometric
    mean. TRL's own clipping of that mean has to be open wide, which the method gmpo sees to.
    """

    width: float = 0.4
    """In nats: ratios between exp(-width) and exp(width) are left as they are."""

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ConfigError("surrogate gmpo: width is above 0", given=self.width, hint="0.4 in the paper")

    def __call__(self, logps: Tensor, given: Given) -> Tensor:
        log_ratios = (logps - given.old_logps).detach()
        rewarded = given.advantages > 0
        above, below = rewarded & (log_ratios > self.width), ~rewarded & (log_ratios < -self.width)
        return logps.where(~above, given.old_logps + self.width).where(~below, given.old_logps - self.width)


@dataclass(frozen=True)
class Traces:
    """LUFFY's shaping of tokens another model wrote (Yan et al. 2025, arXiv 2504.14945): p becomes p / (p + gamma).

    With 0 for their old log-probabilities that is their ratio. Its gradient, p gamma / (p + gamma)^2 times that of log p, is
    largest at p = gamma, so that unlikely tokens of the trace are learned first. Other tokens stay as they are.
    """

    needs_mix: ClassVar[bool] = True
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ConfigError("surrogate traces: gamma is above 0", given=self.gamma, hint="0.1 in the paper")

    def __call__(self, logps: Tensor, given: Given) -> Tensor:
        if given.off_policy is None:
            return logps
        from torch.nn.functional import logsigmoid

        shaped = logsigmoid(logps - math.log(self.gamma))
        return shaped.where(given.off_policy, logps)
