"""`rlllm train-rm`: a reward model from preference pairs."""

from __future__ import annotations

from typing import Any, ClassVar

from rlllm.core.records import PreferencePair
from rlllm.core.runs import Run
from rlllm.stages.pairs import note_pairs
from rlllm.stages.plan import Plan, plan_training
from rlllm.stages.settings import HoldoutConfig, TrainingConfig
from rlllm.stages.training import Job, Parts, train


class TrainRMStage(TrainingConfig):
    """Settings of `rlllm train-rm`."""

    stage: ClassVar[str] = "train-rm"
    trl_config: ClassVar[str] = "RewardConfig"

    method: str = "bt"
    """Kind of reward model; see `rlllm methods ls --stage train-rm`."""
    eval: HoldoutConfig = HoldoutConfig(rows=512)
    """Measurement before and after: accuracy on held-out pairs."""

    def plan(self) -> Plan:
        return plan_training(self, PreferencePair, self.method)


def run(config: TrainRMStage, **options: Any) -> Run:
    """Train a Bradley-Terry reward model; measures held-out pair accuracy before and after.

    Options are those of `stages.training.train`: listener, resume, overwrite, recipe, command.
    """
    return train(config.plan(), Parts(_load, _build, _measure, expect=note_pairs), **options)


def _load(source: Any, tokenizer: Any, hardware: Any) -> Any:
    from rlllm.policies.loading import load_classifier

    return load_classifier(source, tokenizer, bf16=hardware.bf16)


def _build(job: Job, callbacks: list[Any]) -> Any:
    from rlllm.algorithms import rows
    from rlllm.algorithms.trainers import PairwiseReward

    return PairwiseReward(
        model=job.model,
        args=job.arguments("RewardConfig"),
        train_dataset=rows.pairs(job.plan.loaded.train, job.tokenizer, margins=True),
        processing_class=job.tokenizer,
        peft_config=job.adapters("SEQ_CLS"),
        callbacks=callbacks,
    )


def _measure(job: Job, model: Any) -> Any:
    from rlllm.evals.measures import measure_pairs
    from rlllm.rewards.model import RewardModel

    held_out = job.plan.loaded.holdout[: job.config.eval.rows]
    return measure_pairs(RewardModel.of(model, job.tokenizer), held_out) if held_out else None
