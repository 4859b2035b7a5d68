"""LUFFY: policy shaping of tokens that another model wrote."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.losses.base import LossInputs, log_ratios
from rlllm.algorithms.protocols import Loss
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LUFFY(Loss):
    """-r A without a clip; on off-policy tokens r is p / (p + gamma) (Yan et al. 2025, arXiv 2504.14945, eq. 6).

    The gradient of p / (p + gamma) is p gamma / (p + gamma)^2 times that of log p. It is largest at p = gamma, so unlikely
    tokens of a demonstration are learned first. Sums over tokens are divided by the length limit (Dr. GRPO).
    """

    gamma: float = 0.1
    aggregation: str = "seq-mean-token-sum-norm"
    rows_are_independent = True
    needs_off_policy = True

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ConfigError("loss luffy: gamma is above 0", given=self.gamma, hint="0.1 in the paper")

    def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        return -self.log_weights(logps, inputs).exp() * inputs.advantages

    def log_weights(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        """(B, T) log of the weight of each token: the log-ratio, or log p / (p + gamma) on off-policy tokens."""
        if inputs.off_policy is None:
            return log_ratios(logps, inputs)
        from torch.nn.functional import logsigmoid

        shaped = logsigmoid(logps - math.log(self.gamma))
        return shaped.where(inputs.off_policy, log_ratios(logps, inputs))
