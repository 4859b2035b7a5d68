"""GMPO: the geometric mean of a completion's token ratios, each clipped in log space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.losses.base import LossInputs, log_ratios, sequence_ratio
from rlllm.algorithms.protocols import Loss
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GMPO(Loss):
    """-A times the geometric mean of clipped token ratios, mean over completions (Zhao et al. 2025, arXiv 2507.20673, eq. 4).

    A token's log-ratio stops at `width` where the advantage is positive and at -`width` where it is not, and has no gradient
    beyond.
    """

    width: float = 0.4
    """In nats: ratios between exp(-width) and exp(width) are left as they are."""
    aggregation: str = "seq-mean-token-mean"
    rows_are_independent = True

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ConfigError("loss gmpo: width is above 0", given=self.width, hint="0.4 in the paper")

    def shares_ratio(self, settings: Mapping[str, Any]) -> bool:
        return True

    def at_ratio_one(self, settings: Mapping[str, Any]) -> str:
        return "completion"

    def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        return -sequence_ratio(self.clipped(logps, inputs), inputs.mask) * inputs.advantages

    def clipped(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        """(B, T) log-ratios, clipped by the sign of the advantage."""
        current = log_ratios(logps, inputs)
        rewarded = inputs.advantages > 0
        above, below = rewarded & (current.detach() > self.width), ~rewarded & (current.detach() < -self.width)
        return current.masked_fill(above, self.width).masked_fill(below, -self.width)
