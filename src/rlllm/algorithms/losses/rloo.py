"""RLOO: one action is a whole completion, whose importance ratio is the product of its tokens' ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.losses.base import LossInputs, log_ratios
from rlllm.algorithms.protocols import Loss

if TYPE_CHECKING:
    from torch import Tensor


class RLOO(Loss):
    """-min(R A, clip(R, 1 - epsilon, 1 + epsilon_high) A), mean over completions, R the ratio of a whole completion.

    R is the exponential of the sum of the tokens' log-ratios, so no length divides the gradient: at R = 1 it is A times the
    gradient of the completion's log-probability (Ahmadian et al. 2024, arXiv 2402.14740). The clip is that of TRL's
    RLOOTrainer; `epsilon_high` is `epsilon` unless it is given.
    """

    aggregation = "seq-mean-token-mean"
    rows_are_independent = True
    reads_trl = ("epsilon", "epsilon_high")

    def shares_ratio(self, settings: Mapping[str, Any]) -> bool:
        return True

    def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        """(B, 1) loss of each completion."""
        import torch

        low = inputs.trl.get("epsilon", 0.2)
        given_high = inputs.trl.get("epsilon_high")
        high = low if given_high is None else given_high
        ratio = (log_ratios(logps, inputs) * inputs.mask).sum(-1, keepdim=True).exp()
        return -torch.min(ratio * inputs.advantages, ratio.clamp(1 - low, 1 + high) * inputs.advantages)
