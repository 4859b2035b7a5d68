"""Settings of the losses in this folder, under the names that TRL's CPOConfig and TPOConfig gave them.

They are read beside TRL's DPOConfig, which has `beta`, `label_smoothing` and everything about batches and optimizers. This
module imports neither torch nor TRL, so that settings are checked before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

CONTRASTIVE = ("sigmoid", "hinge", "ipo")
"""Losses of a pair that every trainer with a `loss_type` has; see `contrastive.contrastive_loss`."""
REFERENCE_FIELDS = (
    *("precompute_ref_log_probs", "precompute_ref_batch_size"),
    *("sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"),
    *("f_divergence_type", "f_alpha_divergence_coef", "loss_weights", "ld_alpha", "use_weighting", "discopop_tau"),
)
"""Fields of DPOConfig that only DPO's own losses and their reference model read."""


@dataclass(frozen=True, slots=True)
class CPOLossSettings:
    """Settings of CPO, SimPO and AlphaPO.

    Args:
        loss_type: `sigmoid`, `hinge`, `ipo`, `simpo`, or `alphapo`, which is `simpo` without imitation.
        cpo_alpha: weight of the imitation of the chosen completion; 0 leaves it out.
        simpo_gamma: target margin of `simpo` and `alphapo`, in units of `beta` times the log-probability per token.
        alpha: exponent of AlphaPO's reward; at 0 the reward is the log-probability.
    """

    loss_type: str = "sigmoid"
    cpo_alpha: float = 1.0
    simpo_gamma: float = 0.5
    alpha: float = 0.0

    LOSSES: ClassVar[tuple[str, ...]] = (*CONTRASTIVE, "simpo", "alphapo")

    @property
    def per_token(self) -> bool:
        """Whether a completion counts by its mean log-probability per token, instead of by the sum."""
        return self.loss_type in ("ipo", "simpo", "alphapo")

    @property
    def imitation(self) -> float:
        """Weight of the imitation of the chosen completion."""
        return 0.0 if self.loss_type == "alphapo" else self.cpo_alpha

    @property
    def margin(self) -> float:
        """Target margin of the loss."""
        return self.simpo_gamma if self.loss_type in ("simpo", "alphapo") else 0.0

    def unread(self) -> Mapping[str, str]:
        """Settings that this loss does not read, with the reason."""
        reasons = smoothing_unread(self.loss_type)
        if self.loss_type not in ("simpo", "alphapo"):
            reasons["simpo_gamma"] = "it is the target margin of simpo and alphapo"
        if self.loss_type == "alphapo":
            reasons["cpo_alpha"] = "alphapo is simpo without imitation; take loss_type=simpo with alpha and cpo_alpha"
        return reasons


@dataclass(frozen=True, slots=True)
class ORPOLossSettings:
    """ORPO has no settings beside DPOConfig's; `beta` is the paper's lambda, the weight of the odds ratio."""

    per_token: ClassVar[bool] = True

    def unread(self) -> Mapping[str, str]:
        """Settings that this loss does not read, with the reason."""
        return {
            "loss_type": "ORPO has one loss",
            "label_smoothing": "the odds ratio takes the labels as they are",
        }


@dataclass(frozen=True, slots=True)
class TPOLossSettings:
    """Settings of TPO.

    Args:
        loss_type: `sigmoid`, `hinge`, `ipo`, or `tpo-l`, which takes means over tokens and a target margin.
        tpo_alpha: weight of the imitation of the gold completion; at 0 that completion is not even read.
        tpo_l_gamma: target margin of `tpo-l`, in units of `beta` times the log-probability per token.
    """

    loss_type: str = "sigmoid"
    tpo_alpha: float = 1.0
    tpo_l_gamma: float = 0.5

    LOSSES: ClassVar[tuple[str, ...]] = (*CONTRASTIVE, "tpo-l")

    @property
    def per_token(self) -> bool:
        """Whether a completion counts by its mean log-probability per token, instead of by the sum."""
        return self.loss_type in ("ipo", "tpo-l")

    @property
    def margin(self) -> float:
        """Target margin of the loss."""
        return self.tpo_l_gamma if self.loss_type == "tpo-l" else 0.0

    def unread(self) -> Mapping[str, str]:
        """Settings that this loss does not read, with the reason."""
        reasons = smoothing_unread(self.loss_type)
        if self.loss_type != "tpo-l":
            reasons["tpo_l_gamma"] = "it is the target margin of tpo-l"
        return reasons


@dataclass(frozen=True, slots=True)
class RRHFLossSettings:
    """Settings of RRHF.

    Args:
        cpo_alpha: weight of the imitation of the better completion against the ranking; 0 leaves it out.
    """

    cpo_alpha: float = 1.0

    per_token: ClassVar[bool] = True

    def unread(self) -> Mapping[str, str]:
        """Settings that this loss does not read, with the reason."""
        reason = "it ranks by log-probability per token"
        return dict.fromkeys(("loss_type", "beta", "label_smoothing"), reason)


def smoothing_unread(loss_type: str) -> dict[str, str]:
    """`label_smoothing` with the reason, for the losses that take labels as they are."""
    reason = "only losses that are a log-sigmoid are smoothed"
    return {"label_smoothing": reason} if loss_type in ("hinge", "ipo") else {}


LossSettings = CPOLossSettings | ORPOLossSettings | TPOLossSettings | RRHFLossSettings


def loss_fields(settings: type[Any]) -> dict[str, dict[str, Any]]:
    """Field name -> {"kinds", "default"} of one of the classes above, in the form of `core.trl_fields.table`."""
    kinds = {"str": ["str"], "float": ["float"]}
    return {
        field.name: {"kinds": kinds[field.type], "default": field.default}
        for field in settings.__dataclass_fields__.values()
        if not field.type.startswith("ClassVar")
    }
