"""Settings of the losses in this folder, under the names that TRL's CPOConfig and TPOConfig gave them.

They are given beside the fields of TRL's DPOConfig, which has `beta`, `label_smoothing` and everything about batches and
optimizers. This module imports neither torch nor TRL, so that settings are checked before anything is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

CONTRASTIVE = ("sigmoid", "hinge", "ipo")
"""Losses of a pair that every trainer with a `loss_type` has; see `contrastive.contrastive_loss`."""
REFERENCE_FIELDS = frozenset(
    {
        *("precompute_ref_log_probs", "precompute_ref_batch_size"),
        *("sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"),
        *("f_divergence_type", "f_alpha_divergence_coef", "ld_alpha", "use_weighting", "discopop_tau", "loss_weights"),
    }
)
"""Fields of DPOConfig that only DPO's own losses and their reference model read."""


@dataclass(frozen=True)
class LossSettings:
    """Settings of a loss on pairs without a reference model."""

    losses: ClassVar[tuple[str, ...]] = ()
    """Values of `loss_type`; none where there is one loss."""
    not_read: ClassVar[frozenset[str]] = REFERENCE_FIELDS
    """Fields of DPOConfig that the loss never reads."""
    trl_defaults: ClassVar[Mapping[str, Any]] = {}
    """Its defaults for fields of DPOConfig."""

    @property
    def per_token(self) -> bool:
        """Whether a completion counts by its mean log-probability per token, instead of by the sum."""
        return True

    @property
    def divides_by_beta(self) -> bool:
        """Whether the loss cannot be computed with `beta` 0."""
        return False

    def unread(self) -> dict[str, str]:
        """Settings that only other values of `loss_type` read, each with the reason."""
        return {}


@dataclass(frozen=True)
class CPOLossSettings(LossSettings):
    """Settings of CPO, SimPO and AlphaPO.

    Args:
        loss_type: `sigmoid`, `hinge`, `ipo`, `simpo`, or `alphapo`, which is `simpo` without imitation.
        cpo_alpha: weight of the imitation of the chosen completion; 0 leaves it out.
        simpo_gamma: target margin of `simpo` and `alphapo`, in units of `beta` times the log-probability per token.
        alpha: exponent of AlphaPO's reward; at 0 the reward is the log-probability.
    """

    losses = (*CONTRASTIVE, "simpo", "alphapo")

    loss_type: str = "sigmoid"
    cpo_alpha: float = 1.0
    simpo_gamma: float = 0.5
    alpha: float = 0.0

    @property
    def per_token(self) -> bool:
        return self.loss_type in ("ipo", "simpo", "alphapo")

    @property
    def imitation(self) -> float:
        """Weight of the imitation of the chosen completion."""
        return 0.0 if self.loss_type == "alphapo" else self.cpo_alpha

    @property
    def margin(self) -> float:
        """Target margin of the loss."""
        return self.simpo_gamma if self.loss_type in ("simpo", "alphapo") else 0.0

    @property
    def divides_by_beta(self) -> bool:
        return self.loss_type == "ipo" or self.margin != 0

    def unread(self) -> dict[str, str]:
        reasons = _smoothing_unread(self.loss_type)
        if self.loss_type not in ("simpo", "alphapo"):
            reasons["simpo_gamma"] = "it is the target margin of simpo and alphapo"
        if self.loss_type == "alphapo":
            reasons["cpo_alpha"] = "alphapo is simpo without imitation: take loss_type=simpo to have both"
        return reasons


@dataclass(frozen=True)
class ORPOLossSettings(LossSettings):
    """ORPO has no settings beside DPOConfig's: `beta` is the paper's lambda, the weight of the odds ratio."""

    not_read = REFERENCE_FIELDS | {"loss_type", "label_smoothing"}


@dataclass(frozen=True)
class TPOLossSettings(LossSettings):
    """Settings of TPO.

    Args:
        loss_type: `sigmoid`, `hinge`, `ipo`, or `tpo-l`, which takes means over tokens and a target margin.
        tpo_alpha: weight of the imitation of the gold completion; at 0 that completion is not even read.
        tpo_l_gamma: target margin of `tpo-l`, in units of `beta` times the log-probability per token.
    """

    losses = (*CONTRASTIVE, "tpo-l")
    trl_defaults: ClassVar[Mapping[str, Any]] = {"beta": 0.01, "learning_rate": 5e-7}

    loss_type: str = "sigmoid"
    tpo_alpha: float = 1.0
    tpo_l_gamma: float = 0.5

    @property
    def per_token(self) -> bool:
        return self.loss_type in ("ipo", "tpo-l")

    @property
    def margin(self) -> float:
        """Target margin of the loss."""
        return self.tpo_l_gamma if self.loss_type == "tpo-l" else 0.0

    @property
    def divides_by_beta(self) -> bool:
        return self.loss_type == "ipo" or self.margin != 0

    def unread(self) -> dict[str, str]:
        reasons = _smoothing_unread(self.loss_type)
        if self.loss_type != "tpo-l":
            reasons["tpo_l_gamma"] = "it is the target margin of tpo-l"
        return reasons


@dataclass(frozen=True)
class RRHFLossSettings(LossSettings):
    """Settings of RRHF.

    Args:
        cpo_alpha: weight of the imitation of the better completion against the ranking; 0 leaves it out.
    """

    not_read = REFERENCE_FIELDS | {"loss_type", "label_smoothing", "beta"}
    trl_defaults: ClassVar[Mapping[str, Any]] = {"beta": 1.0}  # of the logged rewards, which are log-probabilities

    cpo_alpha: float = 1.0


def _smoothing_unread(loss_type: str) -> dict[str, str]:
    reason = "only losses that are a log-sigmoid are smoothed"
    return {"label_smoothing": reason} if loss_type in ("hinge", "ipo") else {}


LOSS_SETTINGS: Mapping[str, type[LossSettings]] = {
    "CPOConfig": CPOLossSettings,
    "ORPOConfig": ORPOLossSettings,
    "TPOConfig": TPOLossSettings,
    "RRHFConfig": RRHFLossSettings,
}
"""Name in `core/trl_fields.json` to the settings of the loss. The fields there are those of DPOConfig that the loss reads, and
these. The first three have the names of TRL's configs whose settings they take over."""
_KINDS = {"str": ["str"], "float": ["float"]}


def field_table(settings: type[LossSettings], dpo_fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Field name -> {"kinds", "default"} of a loss, in the form of `core.trl_fields.table`.

    Args:
        settings: of the loss.
        dpo_fields: the table of DPOConfig.
    """
    shared = {name: field for name, field in dpo_fields.items() if name not in settings.not_read}
    changed = {
        name: {**shared[name], "default": value} for name, value in settings.trl_defaults.items() if name in shared
    }
    fields = dataclasses.fields(settings)
    own = {field.name: {"kinds": _KINDS[str(field.type)], "default": field.default} for field in fields}
    return {**shared, **changed, **own}


def dpo_settings(settings: type[LossSettings], given: Mapping[str, Any]) -> dict[str, Any]:
    """What of the settings of a run goes to DPOConfig, with the loss's defaults under them."""
    own = {field.name for field in dataclasses.fields(settings)}
    return {**settings.trl_defaults, **{name: value for name, value in given.items() if name not in own}}


def loss_settings(settings: type[LossSettings], given: Mapping[str, Any]) -> LossSettings:
    """The settings of the loss among those of a run."""
    own = {field.name for field in dataclasses.fields(settings)}
    return settings(**{name: value for name, value in given.items() if name in own})
