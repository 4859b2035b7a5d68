"""`rlllm sft`: imitate completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rlllm.core.runs import Run
from rlllm.training.flow import Job, Parts, load_causal_model, train
from rlllm.training.plan import Plan, plan_training
from rlllm.training.settings import TrainingConfig
from rlllm.training.truncation import note_truncated_rows

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


class SFTStage(TrainingConfig):
    """Settings of `rlllm sft`."""

    stage: ClassVar[str] = "sft"
    trl_configs: ClassVar[tuple[str, ...]] = ("SFTConfig",)

    method: str = "sft"
    """How to imitate; see `rlllm methods ls --stage sft`."""

    def plan(self) -> Plan:
        return plan_training(self, self.method)


def run(config: SFTStage, **options: Any) -> Run:
    """Fine-tune on example completions; measures the held-out loss before and after.

    Options are those of `training.flow.run_to_verdict`: listener, resume, overwrite, recipe, command.
    """
    return imitate(config.plan(), **options)


def imitate(plan: Plan, **options: Any) -> Run:
    """Run a plan of the family `sft`."""
    return train(plan, Parts(load_causal_model, build, _measure), **options)


def build(job: Job, callbacks: list[Any]) -> Any:
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.trainers import Supervised

    trainer = Supervised(
        model=job.model,
        args=job.arguments("SFTConfig"),
        train_dataset=to_trl_dataset.conversations(job.plan.loaded.train, job.tokenizer),
        processing_class=job.tokenizer,
        peft_config=job.adapters(),
        callbacks=callbacks,
    )
    return note_truncated_rows(job, trainer)


def _measure(job: Job, model: Any) -> list[Measured]:
    from rlllm.evals.before_after import measure_loss

    held_out = job.plan.measured_on
    return [measure_loss(model, job.tokenizer, held_out)] if held_out else []
