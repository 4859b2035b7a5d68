"""ORPO: imitates the chosen completion and raises its odds over the rejected one, without a reference model."""

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


class ORPOSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer orpo."""

    trl_configs: ClassVar[tuple[str, ...]] = ("ORPOConfig",)


def _build(job: Job[Plan[ORPOSettings]], callbacks: list[Any]) -> Any:
    return preference.build(job, callbacks, "ORPOTrainer", preference.pair_rows(job))


TRAINER = Trainer(
    name="orpo",
    record=PreferencePair,
    settings={"align": ORPOSettings},
    plan=preference.plan,
    run=preference.run_with("ORPOTrainer"),
    build=_build,
    measure=measure_alignment,
    expect=note_pairs,
    batch_tokens=tokens_by_side,
)
