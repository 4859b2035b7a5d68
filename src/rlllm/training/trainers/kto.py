"""KTO: learns from single completions, each labelled desirable or undesirable."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

from rlllm.algorithms.tokenized_preview import tokens_by_mask
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import LabelledCompletion, fingerprint
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job, train
from rlllm.training.plan import Plan
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers import preference
from rlllm.training.trainers.base import Trainer

LOSSES = ("kto", "apo_zero_unpaired")
"""Values of `loss_type` that TRL's KTOTrainer knows."""


class KTOSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer kto."""

    trl_configs: ClassVar[tuple[str, ...]] = ("KTOConfig",)


def _check(plan: Plan[KTOSettings]) -> None:
    preference.check_losses(plan, LOSSES)
    _check_contrast(plan.loaded.train, plan.loaded.source)
    if plan.settings.get("loss_type", "kto") != "kto":
        return
    for name, fits, wanted in (
        ("per_device_train_batch_size", lambda size: size > 1, "2 or more"),
        ("train_sampling_strategy", lambda strategy: strategy == "sequential", "sequential"),
    ):
        value = plan.setting(name)
        if not fits(value):
            raise ConfigError(
                f"the KTO loss needs {name} to be {wanted}: it estimates the KL from neighbours within a batch",
                given=f"{name}={value}",
                hint="or take loss_type=apo_zero_unpaired, which has no KL term",
            )


def _check_contrast(rows: list[LabelledCompletion], source: str) -> None:
    labels: dict[str, set[bool]] = defaultdict(set)
    for row in rows:
        labels[fingerprint([row.prompt, row.completion])].add(row.label)
    kinds = set().union(*labels.values()) if labels else {True, False}
    if len(kinds) == 1:
        raise DataError(
            f"all {len(rows):,} completions are labelled {str(kinds.pop()).lower()}: there is no contrast to learn from",
            given=source,
            hint="labels of both kinds are needed; to imitate good completions alone, use: rlllm sft",
        )
    if labels and all(len(both) == 2 for both in labels.values()):
        raise DataError(
            "every completion is labelled both true and false: there is no contrast to learn from",
            given=source,
            hint="check which columns are mapped to completion and label",
        )


def _build(job: Job[Plan[KTOSettings]], callbacks: list[Any]) -> Any:
    from rlllm.algorithms.preference.with_reference import SealedKTOTrainer

    rows = preference.label_rows(job)
    return preference.build_trainer(job, callbacks, SealedKTOTrainer, rows, ref_model=preference.reference_of(job))


TRAINER = Trainer(
    name="kto",
    record=LabelledCompletion,
    settings={"align": KTOSettings},
    plan=preference.plan_preferences,
    run=train,
    check=_check,
    build=_build,
    measure=measure_alignment,
    batch_tokens=tokens_by_mask,
    size_defaults="preferences",
    reads_images=True,
)
