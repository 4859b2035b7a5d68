"""Dual-clip PPO: the clipped loss with a bound on what a negative advantage can cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.losses.base import LossInputs, log_ratios
from rlllm.algorithms.protocols import Loss
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DualClip(Loss):
    """PPO's clipped loss; where the advantage is negative, at most -c A (Ye et al. 2019, arXiv 1912.09729, eq. 4).

    With r the ratio: max(-r A, -clip(r, 1 - clip_ratio_low, 1 + clip_ratio_high) A), and for A < 0 the smaller of that and
    -clip_ratio_c A. The names are verl's.
    """

    clip_ratio_low: float = 0.2
    clip_ratio_high: float = 0.2
    clip_ratio_c: float = 3.0
    """Ratio beyond which a completion of negative advantage has no gradient."""
    aggregation: str = "token-mean"
    rows_are_independent = True

    def __post_init__(self) -> None:
        if not 0 <= self.clip_ratio_low <= 1 or not self.clip_ratio_high >= 0 or not self.clip_ratio_c > 1:
            raise ConfigError(
                "loss dual-clip: clip_ratio_low is between 0 and 1, clip_ratio_high at least 0, clip_ratio_c above 1",
                given=f"{self.clip_ratio_low}, {self.clip_ratio_high}, {self.clip_ratio_c}",
                hint="0.2, 0.2 and 3.0 are usual",
            )

    def at_ratio_one(self, settings: Mapping[str, Any]) -> str:
        return "token"

    def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        import torch

        ratio, advantages = log_ratios(logps, inputs).exp(), inputs.advantages
        held = ratio.clamp(1 - self.clip_ratio_low, 1 + self.clip_ratio_high)
        clipped = torch.maximum(-ratio * advantages, -held * advantages)
        return torch.where(advantages < 0, torch.minimum(clipped, -self.clip_ratio_c * advantages), clipped)
