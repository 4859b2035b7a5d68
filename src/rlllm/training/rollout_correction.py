"""The setting `rollout_correction`, and what it needs of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from rlllm.algorithms.mismatch.correction import RolloutCorrection
from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.rollouts.engines.loading import reports_logps
from rlllm.rollouts.registry import ENGINES

if TYPE_CHECKING:
    from rlllm.algorithms.components import SlotSpec

_BY_TRL = (
    "vllm_importance_sampling_correction",
    "vllm_importance_sampling_mode",
    "vllm_importance_sampling_cap",
    "vllm_importance_sampling_clip_max",
    "vllm_importance_sampling_clip_min",
)
"""TRL's settings of the same correction, which it makes under vLLM alone."""
_WITHOUT_LOGPS = {
    "erase": "completions are sampled in segments",
    "dialogue": "completions are sampled by several roles",
    "reflect": "a completion is two answers",
}
"""Slots under which rollouts have no log-probabilities of the sampler."""


class RolloutCorrectionConfig(Section):
    """What is done where sampler and trainer compute different probabilities (verl's `rollout_correction`). Default: it is
    measured alone, as `rollout_corr/` in the log."""

    rollout_is: Literal["token", "sequence"] | None = None
    """Importance weights on the loss: `token` weights each token by its ratio of trainer to sampler, `sequence` by the product
    over its completion."""
    rollout_is_threshold: float | str = 2.0
    """A number truncates the weights from above; `0.5_5` gives weight 0 to those outside (IcePop)."""
    rollout_is_batch_normalize: bool = False
    """Divide the weights by their mean over the rollout."""
    rollout_rs: str | None = None
    """Leave out tokens or completions by these criteria, joined by commas: `token_k1`, `seq_mean_k1` (geometric mean),
    `seq_sum_k1`, `seq_max_k2`, and the others of verl."""
    rollout_rs_threshold: float | str | None = None
    """Bound of each criterion: `0.5_2` for a k1, which bounds sampler over trainer, one number for a k2 or k3."""

    @property
    def correction(self) -> RolloutCorrection | None:
        """What the loop does; None where it only measures. Raises ConfigError for thresholds that are none."""
        correction = RolloutCorrection(
            self.rollout_is,
            self.rollout_is_threshold,
            self.rollout_is_batch_normalize,
            self.rollout_rs,
            self.rollout_rs_threshold,
        )
        return correction if correction.active else None


def check_correction(
    config: RolloutCorrectionConfig, engine: str, slots: Mapping[str, SlotSpec], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """TRL settings with which a run corrects once: none, or its own correction under vLLM switched off.

    Args:
        config: the setting.
        engine: name of the run's engine.
        slots: the run's components.
        settings: TRL settings as they were given.

    Raises:
        ConfigError: thresholds that are none; a sampler that reports no log-probabilities; the same correction by TRL's names.
    """
    correction = config.correction
    if correction is None:
        _refuse_unread(config)
        return {}
    if not reports_logps(engine) and not settings.get("use_vllm"):
        able = [name for name in ENGINES.builtins if reports_logps(name)]
        raise ConfigError(
            "rollout_correction needs the log-probabilities of the sampler, and this engine reports none",
            given=f"rollout.engine={engine}",
            exists=able,
            hint=f"rollout.engine={able[0]}, or leave rollout_correction out",
        )
    for slot, reason in _WITHOUT_LOGPS.items():
        if slot in slots:
            raise ConfigError(
                f"rollout_correction needs the log-probabilities of the sampler, and {reason}",
                given=f"{slot}={slots[slot].name}",
                hint="leave out one",
            )
    if correction.rollout_is == "sequence" and slots["loss"].name == "vespo":
        raise ConfigError(
            "the loss vespo multiplies the weights of a completion's tokens itself",
            given="rollout_correction.rollout_is=sequence",
            hint="rollout_correction.rollout_is=token",
        )
    twice = [name for name in _BY_TRL if name in settings]
    if twice:
        raise ConfigError(
            "the correction is given twice",
            given=", ".join(f"{name}={settings[name]}" for name in twice),
            hint="leave out TRL's: rollout_correction holds for every engine",
        )
    return {"vllm_importance_sampling_correction": False} if settings.get("use_vllm") else {}


def _refuse_unread(config: RolloutCorrectionConfig) -> None:
    """Thresholds of a correction that is not made would be read by nothing."""
    unread = sorted(config.model_fields_set - {"rollout_is", "rollout_rs"})
    if unread:
        raise ConfigError(
            "nothing is corrected, and these settings are read by nothing",
            given=", ".join(f"rollout_correction.{name}={getattr(config, name)}" for name in unread),
            hint="rollout_correction.rollout_is=token, or leave them out",
        )
