"""Supervised fine-tuning: cross-entropy on example completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rlllm.algorithms.tokenized_preview import tokens_by_labels
from rlllm.core.records import Conversation
from rlllm.training.flow import Job, train
from rlllm.training.plan import Plan, start_plan
from rlllm.training.settings import TrainingConfig
from rlllm.training.trainers.base import Trainer
from rlllm.training.truncation import note_truncated_rows

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


class SFTSettings(TrainingConfig):
    """Settings of `rlllm sft`."""

    stage: ClassVar[str] = "sft"
    trl_configs: ClassVar[tuple[str, ...]] = ("SFTConfig",)


def _build(job: Job[Plan[SFTSettings]], callbacks: list[Any]) -> Any:
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.sealed_trainers import Supervised

    trainer = Supervised(
        model=job.model,
        args=job.arguments(),
        train_dataset=to_trl_dataset.conversations(job.plan.loaded.train, job.tokenizer),
        processing_class=job.tokenizer,
        peft_config=job.adapters(),
        callbacks=callbacks,
    )
    return note_truncated_rows(job, trainer)


def _measure(job: Job[Plan[SFTSettings]], model: Any) -> list[Measured]:
    """The loss on held-out completions, in nats per token."""
    from rlllm.evals.before_after import measure_loss

    held_out = job.plan.measured_on
    return [measure_loss(model, job.tokenizer, held_out)] if held_out else []


TRAINER = Trainer(
    name="sft",
    record=Conversation,
    settings={"sft": SFTSettings},
    plan=start_plan,
    run=train,
    build=_build,
    measure=_measure,
    batch_tokens=tokens_by_labels,
    size_defaults="sft",
)
