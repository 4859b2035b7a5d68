"""ORPO: imitates the chosen completion and raises its odds over the rejected one, without a reference model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rlllm.algorithms.tokenized_preview import PreviewSequence, tokens_by_mask
from rlllm.core.records import PreferencePair
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers import preference
from rlllm.training.trainers.base import Trainer


class ORPOSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer orpo."""

    trl_configs: ClassVar[tuple[str, ...]] = ("ORPOConfig",)


def _build(job: Job[Plan[ORPOSettings]], callbacks: list[Any]) -> Any:
    from rlllm.algorithms.preference.orpo import ORPOTrainer

    rows = preference.pair_rows(job)
    return preference.build_trainer(job, callbacks, ORPOTrainer, rows, loss=preference.loss_of(job.plan))


def _batch_tokens(batch: Mapping[str, Any]) -> list[PreviewSequence]:
    """Of the chosen side every token trains but the first, which nothing predicts: the prompt is imitated as well."""
    chosen, rejected = tokens_by_mask(batch)
    return [replace(chosen, trains=[False] + [True] * (len(chosen.ids) - 1)), rejected]


TRAINER = Trainer(
    name="orpo",
    record=PreferencePair,
    settings={"align": ORPOSettings},
    plan=preference.plan_preferences,
    run=train,
    check=preference.check_loss,
    build=_build,
    measure=measure_alignment,
    expect=note_pairs,
    batch_tokens=_batch_tokens,
    size_defaults="preferences with imitation",
)
