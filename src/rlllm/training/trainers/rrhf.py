"""RRHF: ranks the two sides of a pair by their log-probability per token, and imitates the better one."""

from __future__ import annotations

from typing import Any, ClassVar

from rlllm.algorithms.tokenized_preview import tokens_by_mask
from rlllm.core.records import PreferencePair
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers import preference
from rlllm.training.trainers.base import Trainer


class RRHFSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer rrhf."""

    trl_configs: ClassVar[tuple[str, ...]] = ("RRHFConfig",)


def _build(job: Job[Plan[RRHFSettings]], callbacks: list[Any]) -> Any:
    from rlllm.algorithms.preference.rrhf import RRHFTrainer

    rows = preference.pair_rows(job)
    return preference.build_trainer(job, callbacks, RRHFTrainer, rows, loss=preference.loss_of(job.plan))


TRAINER = Trainer(
    name="rrhf",
    record=PreferencePair,
    settings={"align": RRHFSettings},
    plan=preference.plan_preferences,
    run=train,
    check=preference.check_loss,
    build=_build,
    measure=measure_alignment,
    expect=note_pairs,
    batch_tokens=tokens_by_mask,
    size_defaults="preferences with imitation",
)
