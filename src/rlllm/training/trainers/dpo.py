"""Direct preference optimisation on recorded pairs, with any of the losses of TRL's DPOTrainer."""

from __future__ import annotations

from typing import Any, ClassVar

from rlllm.algorithms.preference.settings import CONTRASTIVE
from rlllm.algorithms.tokenized_preview import tokens_by_mask
from rlllm.core.errors import ConfigError
from rlllm.core.records import PreferencePair
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers import preference
from rlllm.training.trainers.base import Trainer

LOSSES = (
    *CONTRASTIVE,
    *("exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"),
    *("discopop", "sft", "sigmoid_norm"),
)
"""Values of `loss_type` that TRL's DPOTrainer knows."""


class DPOSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer dpo."""

    trl_configs: ClassVar[tuple[str, ...]] = ("DPOConfig",)


def _check(plan: Plan[DPOSettings]) -> None:
    preference.check_losses(plan, LOSSES)
    rate = plan.setting("label_smoothing")
    if "robust" in plan.settings.get("loss_type", ()) and not 0 <= rate < 0.5:
        raise ConfigError(
            "label_smoothing of the robust loss is the rate of flipped labels: at least 0 and below 0.5",
            given=f"label_smoothing={rate}",
        )


def build(job: Job[Plan[Any]], callbacks: list[Any]) -> Any:
    """`Trainer.build`: TRL's DPOTrainer with a copy of the model as reference."""
    from rlllm.algorithms.preference.with_reference import SealedDPOTrainer

    rows, reference = preference.pair_rows(job), preference.reference_of(job)
    return preference.build_trainer(job, callbacks, SealedDPOTrainer, rows, ref_model=reference)


TRAINER = Trainer(
    name="dpo",
    record=PreferencePair,
    settings={"align": DPOSettings},
    plan=preference.plan_preferences,
    run=train,
    check=_check,
    build=build,
    measure=measure_alignment,
    expect=note_pairs,
    batch_tokens=tokens_by_mask,
    size_defaults="preferences",
    reads_images=True,
)
