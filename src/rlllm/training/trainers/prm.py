"""Process reward models: a token classifier that learns from step labels which steps are right."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.tokenized_preview import tokens_by_labels
from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import StepwiseSolution
from rlllm.training.flow import Job, train
from rlllm.training.plan import Plan, start_plan
from rlllm.training.settings import RewardModelSettings
from rlllm.training.trainers.base import Trainer
from rlllm.training.truncation import note_rows

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured

WITHOUT_EFFECT = (
    "activation_offloading",
    "center_rewards_coefficient",
    "chat_template_path",
    "dataset_num_proc",
    "eos_token",
    "label_smoothing_factor",
    "model_init_kwargs",
    "pad_to_multiple_of",
    "pad_token",
    "trust_remote_code",
)
"""Fields of TRL's RewardConfig that its pairwise trainer or transformers' own loss reads; here they would do nothing."""


def _check(plan: Plan[RewardModelSettings]) -> None:
    """Raise ConfigError for a setting without effect, DataError where every step has the same label."""
    refuse_settings_without_effect(plan.settings)
    _refuse_one_class(plan)


def refuse_settings_without_effect(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for a setting of `WITHOUT_EFFECT` that is not TRL's default."""
    fields = trl_fields.table("RewardConfig")
    for name in WITHOUT_EFFECT:
        if name in settings and settings[name] != fields[name]["default"]:
            raise ConfigError(
                f"{name} has no effect on a process reward model", given=f"{name}={settings[name]}", hint="leave it out"
            )


def _refuse_one_class(plan: Plan[RewardModelSettings]) -> None:
    labels = {label for record in plan.loaded.train for label in record.labels}
    if len(labels) == 1:
        raise DataError(
            f"every step is labelled {'right' if labels.pop() else 'wrong'}, so there is nothing to tell apart",
            given=plan.loaded.source,
            hint="give solutions with right and wrong steps",
        )


def _load(source: Any, tokenizer: Any, hardware: Any) -> Any:
    from rlllm.policies.loading import load_step_classifier

    return load_step_classifier(source, tokenizer, bf16=hardware.bf16)


def _build(job: Job[Plan[RewardModelSettings]], callbacks: list[Any]) -> Any:
    from rlllm.algorithms.prm_trainer import ProcessReward, step_rows

    arguments = job.arguments()
    records = job.plan.loaded.train
    dataset = step_rows(records, job.tokenizer, arguments.max_length)
    trainer = ProcessReward(
        model=_adapted(job, arguments),
        args=arguments,
        train_dataset=dataset,
        processing_class=job.tokenizer,
        callbacks=callbacks,
    )
    return note_rows(job, trainer)


def _adapted(job: Job[Plan[RewardModelSettings]], arguments: Any) -> Any:
    """The model, with adapters where they are wanted; the new head is always trained whole."""
    adapters = job.adapters()
    if adapters is None:
        return job.model
    from peft import get_peft_model

    adapters.exclude_modules = ["score", "classifier"]  # for token classifiers, peft takes the head for one more layer
    if arguments.gradient_checkpointing:
        job.model.enable_input_require_grads()
    return get_peft_model(job.model, adapters)


def _measure(job: Job[Plan[RewardModelSettings]], model: Any) -> list[Measured]:
    """How often the first wrong step of held-out solutions is found."""
    from rlllm.evals.metrics.prm_steps import measure_steps
    from rlllm.rewards.models.process_reward_model import ProcessModel

    held_out = job.plan.measured_on
    scorer = ProcessModel.of(model, job.tokenizer, job.plan.setting("max_length") or sys.maxsize)
    return measure_steps(scorer, held_out) if held_out else []


TRAINER = Trainer(
    name="process",
    record=StepwiseSolution,
    settings={"train-rm": RewardModelSettings},
    plan=start_plan,
    run=train,
    check=_check,
    task="TOKEN_CLS",
    load=_load,
    build=_build,
    measure=_measure,
    batch_tokens=tokens_by_labels,
    size_defaults="reward model",
)
