"""CPO and SimPO: contrast the two sides of a pair without a reference model."""

from __future__ import annotations

from typing import Any, ClassVar

from rlllm.algorithms.tokenized_preview import tokens_by_side
from rlllm.core.records import PreferencePair
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers import preference
from rlllm.training.trainers.base import Trainer

LOSSES = (*preference.CONTRASTIVE_LOSSES, "simpo", "alphapo")
"""Values of `loss_type` that TRL's CPOTrainer knows."""


class CPOSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer cpo."""

    trl_configs: ClassVar[tuple[str, ...]] = ("CPOConfig",)


def _check(plan: Plan[CPOSettings]) -> None:
    preference.check_losses(plan, LOSSES)


def _build(job: Job[Plan[CPOSettings]], callbacks: list[Any]) -> Any:
    return preference.build(job, callbacks, "CPOTrainer", preference.pair_rows(job))


TRAINER = Trainer(
    name="cpo",
    record=PreferencePair,
    settings={"align": CPOSettings},
    plan=preference.plan,
    run=preference.run_with("CPOTrainer"),
    check=_check,
    build=_build,
    measure=measure_alignment,
    expect=note_pairs,
    batch_tokens=tokens_by_side,
)
