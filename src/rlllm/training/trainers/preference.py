"""What the trainers of recorded preferences share: planning, construction with TRL, and the reference model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.runs import Run, RunOptions
from rlllm.training.before_after import ground_truth_reward
from rlllm.training.flow import Job, train
from rlllm.training.plan import Plan, start_plan
from rlllm.training.reward_specs import resolve_rewards
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers.base import Trainer
from rlllm.training.truncation import note_truncated_rows

SettingsT = TypeVar("SettingsT", bound=PreferenceSettings)
CONTRASTIVE_LOSSES = ("sigmoid", "hinge", "ipo")
"""Values of `loss_type` that DPO, CPO and TPO all know."""


def plan(config: PreferenceSettings, method: Any, trainer: Trainer[Any, Any]) -> Plan[Any]:
    """`Trainer.plan`: data and settings, and the rewards that measure. Raises ConfigError, DataError, ModelError."""
    return with_rewards(start_plan(config, method, trainer))


def with_rewards(plan: Plan[SettingsT]) -> Plan[SettingsT]:
    """The plan with the rewards that measure it."""
    from dataclasses import replace

    config = plan.config
    eval_reward = config.eval_reward or ground_truth_reward(plan.loaded)
    return replace(
        plan,
        rewards=resolve_rewards(config.rewards, plan.loaded, sandbox=config.sandbox) if config.rewards else None,
        eval_reward=resolve_rewards([eval_reward], plan.loaded, sandbox=config.sandbox) if eval_reward else None,
    )


def run_with(trl_trainer: str) -> Callable[[Plan[Any], RunOptions], Run]:
    """`Trainer.run` that first looks for TRL's trainer; raises ModelError where the installed TRL does not have it."""

    def run(plan: Plan[Any], options: RunOptions) -> Run:
        from rlllm.algorithms.offline import check_trainer

        check_trainer(trl_trainer, plan.method.name)
        return train(plan, options)

    return run


def check_losses(plan: Plan[Any], losses: Sequence[str]) -> None:
    """Raise UnknownNameError for a `loss_type` that the trainer does not know. TRL finds out in the first step only."""
    given = plan.settings.get("loss_type", [])
    for loss in given if isinstance(given, list) else [given]:
        if loss not in losses:
            raise unknown(f"loss of method {plan.method.name}", str(loss), losses)


def build(
    job: Job[Any],
    callbacks: list[Any],
    trl_trainer: str,
    rows: Any,
    *,
    mixins: tuple[type, ...] = (),
    with_reference: bool = False,
) -> Any:
    """One of TRL's trainers, made for a job.

    Args:
        job: with model and tokenizer.
        callbacks: transformers callbacks.
        trl_trainer: name of the TRL class.
        rows: the data set, of the columns that the class takes.
        mixins: classes whose methods replace those of the TRL class.
        with_reference: give it a copy of the model as `ref_model`.

    Raises:
        ConfigError: TRL refuses the settings.
        ModelError: the installed TRL does not have the class.
    """
    from rlllm.algorithms.offline import trainer_class

    make = trainer_class(trl_trainer, job.plan.method.name, mixins)
    args = job.arguments()
    try:
        trainer = make(
            model=job.model,
            args=args,
            train_dataset=rows,
            processing_class=job.tokenizer,
            peft_config=job.adapters(),
            callbacks=callbacks,
            **({"ref_model": reference_of(job, args)} if with_reference else {}),
        )
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"TRL refuses these settings: {error}", given=dict(job.plan.settings)) from error
    return note_truncated_rows(job, trainer)


def reference_of(job: Job[Any], args: Any) -> Any:
    """A copy of the model as it is now; None where the trainer needs none: it switches adapters off, or scores before training.

    To be made before a trainer has touched the model: TRL replaces `forward` by a function that is bound to this instance.
    TRL itself would load the folder the weights came from once more, which need not hold the same by then.
    """
    from copy import deepcopy

    return None if job.plan.config.lora or args.precompute_ref_log_probs else deepcopy(job.model)


def pair_rows(job: Job[Any]) -> Any:
    """The training pairs as the rows of TRL's trainers of pairs."""
    from rlllm.algorithms import to_trl_dataset

    return to_trl_dataset.pairs(job.plan.loaded.train, job.tokenizer)
