"""TPO: learns from three completions of a prompt: a gold one to imitate, a chosen and a rejected one to contrast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rlllm.algorithms.tokenized_preview import tokens_by_mask
from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers import preference
from rlllm.training.trainers.base import Trainer


class TPOSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer tpo."""

    trl_configs: ClassVar[tuple[str, ...]] = ("TPOConfig",)


def _check(plan: Plan[TPOSettings]) -> None:
    preference.check_loss(plan)
    if plan.setting("tpo_alpha"):
        _check_references(plan.loaded.train, plan)


def _check_references(rows: Sequence[PreferencePair], plan: Plan[TPOSettings]) -> None:
    lacking = [row for row in rows if not _is_text(row.meta.get("reference"))]
    if lacking:
        raise DataError(
            f"method {plan.method.name} needs a third completion of each pair as text, in a column reference: "
            f"{len(lacking):,} of {len(rows):,} rows have none",
            given=plan.loaded.source,
            exists=sorted(lacking[0].meta),
            hint="name the column of gold completions reference; built-in tasks make one with data.params.reference=true",
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _build(job: Job[Plan[TPOSettings]], callbacks: list[Any]) -> Any:
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.preference.tpo import TPOTrainer

    rows = preference.pair_rows(job)
    if job.plan.setting("tpo_alpha"):
        records = job.plan.loaded.train
        _check_references(records, job.plan)
        rows = to_trl_dataset.triples(records, job.tokenizer)
    return preference.build_trainer(job, callbacks, TPOTrainer, rows, loss=preference.loss_of(job.plan))


TRAINER = Trainer(
    name="tpo",
    record=PreferencePair,
    settings={"align": TPOSettings},
    plan=preference.plan_preferences,
    run=train,
    check=_check,
    build=_build,
    measure=measure_alignment,
    expect=note_pairs,
    batch_tokens=tokens_by_mask,
    size_defaults="preferences",
)
