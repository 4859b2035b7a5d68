"""What the trainers of recorded preferences share: planning, checks of losses, construction, and the reference model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rlllm.algorithms.preference.settings import LOSS_SETTINGS, LossSettings, loss_settings
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.redaction import without_secrets
from rlllm.training.before_after import ground_truth_reward
from rlllm.training.flow import Job
from rlllm.training.plan import Plan, start_plan
from rlllm.training.reward_specs import resolve_rewards
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers.base import Trainer
from rlllm.training.truncation import note_rows

SettingsT = TypeVar("SettingsT", bound=PreferenceSettings)


def plan_preferences(config: PreferenceSettings, method: Any, trainer: Trainer[Any, Any]) -> Plan[Any]:
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


def check_losses(plan: Plan[Any], losses: Sequence[str]) -> None:
    """Raise UnknownNameError for a `loss_type` that the trainer does not know. TRL finds out in the first step only."""
    given = plan.settings.get("loss_type", [])
    for loss in given if isinstance(given, list) else [given]:
        if loss not in losses:
            raise unknown(f"loss of method {plan.method.name}", str(loss), losses)


def loss_of(plan: Plan[Any]) -> LossSettings:
    """The settings of a loss without a reference model, out of those of the run."""
    return loss_settings(LOSS_SETTINGS[plan.trainer.trl_config], plan.settings)


def check_loss(plan: Plan[Any]) -> None:
    """Refuse settings that a loss without a reference model does not read, or cannot be computed with.

    Raises:
        ConfigError, UnknownNameError: with the reason.
    """
    loss = loss_of(plan)
    if loss.losses:
        check_losses(plan, loss.losses)
    for name, reason in loss.unread().items():
        if name in plan.config.trainer:
            raise ConfigError(
                f"method {plan.method.name} does not read {name} with loss_type={plan.setting('loss_type')}",
                given=f"{name}={plan.config.trainer[name]}",
                hint=f"leave it out: {reason}",
            )
    if loss.divides_by_beta and not plan.setting("beta"):
        raise ConfigError(
            f"beta is above 0 with loss_type={plan.setting('loss_type')}: the loss divides by it", given="beta=0"
        )


def build_trainer(job: Job[Any], callbacks: list[Any], make: Callable[..., Any], rows: Any, **options: Any) -> Any:
    """A trainer of recorded preferences, made for a job.

    Args:
        job: with model and tokenizer.
        callbacks: transformers callbacks.
        make: the class: TRL's, or one of `algorithms/preference`.
        rows: the data set, of the columns that the class takes.
        options: further arguments of the class.

    Raises:
        ConfigError: TRL refuses the settings.
    """
    args = job.arguments()
    try:
        trainer = make(
            model=job.model,
            args=args,
            train_dataset=rows,
            processing_class=job.processing_class,
            peft_config=job.adapters(),
            callbacks=callbacks,
            **options,
        )
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"TRL refuses these settings: {error}", given=without_secrets(job.plan.settings)) from error
    return note_rows(job, trainer)


def reference_of(job: Job[Any]) -> Any:
    """A copy of the model as it is now; None where the trainer needs none: it switches adapters off, or scores before training.

    To be made before a trainer has touched the model: TRL replaces `forward` by a function that is bound to this instance.
    TRL itself would load the folder the weights came from once more, which need not hold the same by then.
    """
    from copy import deepcopy

    return None if job.plan.config.lora or job.plan.setting("precompute_ref_log_probs") else deepcopy(job.model)


def label_rows(job: Job[Any]) -> Any:
    """The labelled completions as the rows of KTOTrainer: `prompt`, `completion`, `label`, shuffled by the seed."""
    from rlllm.algorithms import to_trl_dataset

    return to_trl_dataset.labelled(job.plan.loaded.train, job.tokenizer, seed=job.plan.config.seed)


def pair_rows(job: Job[Any]) -> Any:
    """The training pairs as the rows of DPOTrainer: `prompt`, `chosen`, `rejected`."""
    from rlllm.algorithms import to_trl_dataset

    return to_trl_dataset.pairs(job.plan.loaded.train, job.tokenizer)
