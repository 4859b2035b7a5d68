"""TRL's policy losses: names in the slot `loss` that stand for a `loss_type` of TRL's GRPOTrainer, which computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.algorithms.protocols import PolicyLoss

_FRAME = (
    "off_policy_mask_threshold",
    "use_adaptive_entropy",
    "entropy_coef",
    "entropy_coef_delta",
    "entropy_coef_min",
    "entropy_coef_max",
    "entropy_target",
)
"""TRL settings of what TRL adds to all of its own losses, and to no other: sequence masking and the entropy bonus."""
_CLIPPED = ("importance_sampling_level", "epsilon", "epsilon_high", "delta", *_FRAME)


class TRLLoss(PolicyLoss):
    """A loss that TRL computes: the loop hands the whole computation to TRL's `_compute_loss`."""

    loss_type: str
    """TRL's name."""
    rows_are_independent = True

    @property
    def trl_settings(self) -> Mapping[str, Any]:
        return {"loss_type": self.loss_type}

    def shares_ratio(self, settings: Mapping[str, Any]) -> bool:
        return "importance_sampling_level" in self.reads_trl and settings.get("importance_sampling_level") == "sequence"

    def at_ratio_one(self, settings: Mapping[str, Any]) -> str:
        if settings["delta"] is not None and settings["delta"] < 1:
            return ""
        return "completion" if settings["importance_sampling_level"] == "sequence" else "token"


class GRPO(TRLLoss):
    """-min(r A, clip(r, 1 - epsilon, 1 + epsilon_high) A), mean over each completion's tokens (Shao et al. 2024)."""

    loss_type = "grpo"
    aggregation = "seq-mean-token-mean"
    reads_trl = _CLIPPED


class BNPO(TRLLoss):
    """The clipped loss, mean over the tokens of the micro-batch (Xiao et al. 2025)."""

    loss_type = "bnpo"
    aggregation = "micro-batch-token-mean"
    reads_trl = _CLIPPED


class DrGRPO(TRLLoss):
    """The clipped loss, sum over tokens divided by the length limit (Liu et al. 2025)."""

    loss_type = "dr_grpo"
    aggregation = "seq-mean-token-sum-norm"
    reads_trl = _CLIPPED


class DAPO(TRLLoss):
    """The clipped loss, mean over the tokens of the optimizer step (Yu et al. 2025)."""

    loss_type = "dapo"
    aggregation = "token-mean"
    reads_trl = _CLIPPED


class LUSPO(TRLLoss):
    """The clipped loss, sum over each completion's tokens (Liu et al. 2026)."""

    loss_type = "luspo"
    aggregation = "seq-mean-token-sum"
    reads_trl = _CLIPPED


class CISPO(TRLLoss):
    """-min(r, epsilon_high) A log p, with the weight held constant; mean over tokens (MiniMax 2025)."""

    loss_type = "cispo"
    aggregation = "token-mean"
    reads_trl = ("importance_sampling_level", "epsilon_high", *_FRAME)

    def shares_ratio(self, settings: Mapping[str, Any]) -> bool:
        return False  # its ratio is a weight without a gradient

    def at_ratio_one(self, settings: Mapping[str, Any]) -> str:
        bound = settings["epsilon"] if settings["epsilon_high"] is None else settings["epsilon_high"]
        return "token" if bound >= 1 else ""


class SAPO(TRLLoss):
    """A soft gate on the ratio in place of the clip, mean over each completion's tokens (Gao et al. 2025)."""

    loss_type = "sapo"
    aggregation = "seq-mean-token-mean"
    reads_trl = ("importance_sampling_level", "sapo_temperature_pos", "sapo_temperature_neg", *_FRAME)

    def at_ratio_one(self, settings: Mapping[str, Any]) -> str:
        return "completion" if settings["importance_sampling_level"] == "sequence" else "token"


class VESPO(TRLLoss):
    """A smooth weight on the ratio of whole completions, mean over tokens (Shen et al. 2026)."""

    loss_type = "vespo"
    aggregation = "token-mean"
    reads_trl = ("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg", *_FRAME)

    def at_ratio_one(self, settings: Mapping[str, Any]) -> str:
        return "token"


BY_LOSS_TYPE: Mapping[str, type[TRLLoss]] = {
    loss.loss_type: loss for loss in (GRPO, BNPO, DrGRPO, DAPO, CISPO, SAPO, LUSPO, VESPO)
}
"""TRL's `loss_type` -> the loss of that name."""
BY_AGGREGATION: Mapping[str, str] = {loss.aggregation: loss.loss_type for loss in (GRPO, BNPO, DrGRPO, DAPO, LUSPO)}
"""Aggregation -> name of TRL's clipped loss that aggregates so."""
LOSS_SETTINGS = frozenset(name for loss in BY_LOSS_TYPE.values() for name in loss.reads_trl)
"""TRL settings that some losses read and others do not."""
RATIO_SETTINGS = LOSS_SETTINGS - {*_FRAME}
"""TRL settings of losses that act on importance ratios alone, and so do nothing where every ratio is 1."""
