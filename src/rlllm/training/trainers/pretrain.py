"""Learning from raw text: thoughts that are paid for what they predict, and plain next-token training beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from rlllm.core.errors import ConfigError
from rlllm.core.records import Conversation, PromptTask
from rlllm.data.config import DataConfig
from rlllm.policies.model_sources import source_of
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import CompletionConfig
from rlllm.training.flow import Job, train
from rlllm.training.plan import Plan, RLPlan, plan_of, with_defaults
from rlllm.training.reward_cards import with_cards
from rlllm.training.reward_specs import resolve_rewards
from rlllm.training.rl_plan import plan_rl
from rlllm.training.settings import SAMPLING_ALIASES, Names, SampledHoldoutConfig, TrainingConfig
from rlllm.training.size_defaults import SizeDefaults
from rlllm.training.text_positions import PositionsConfig, as_task, load_positions
from rlllm.training.trainers import rl, sft
from rlllm.training.trainers.base import Trainer
from rlllm.training.trainers.rl import ControlledSettings, check_own_reward

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.evals.before_after import Measured

_SOURCE = "text:"
_REWARD = RewardSpec(name="next-token", params={"unmarked": "first"})
"""What pays and measures where no reward is named: a model that does not think is asked for one token."""


def _as_text(data: DataConfig) -> DataConfig:
    """The data as a source of raw text: `docs` becomes `text:docs`."""
    if data.mix:
        raise ConfigError(
            "pretrain reads one text", given=data.name, hint="put the files into one folder, and name that"
        )
    if data.name.startswith(_SOURCE):
        return data
    named = "rlllm" if data == DataConfig() else data.name
    return data.model_copy(update={"name": f"{_SOURCE}{named}"})


class PretrainSettings(ControlledSettings):
    """Settings of `rlllm pretrain` with a method that thinks before it predicts. Its reward is `next-token` unless others are
    named; the first decides what passes."""

    stage: ClassVar[str] = "pretrain"

    data: DataConfig = DataConfig(name="text:rlllm")
    """The text: a file, a folder, a table, a Hub id (each with or without `text:` in front), or `text:rlllm`."""
    positions: PositionsConfig = PositionsConfig()
    """Which positions of the text are learned, and how they are shown."""
    against: Names = Field(default_factory=lambda: ["eval/quickstart"])
    """Evaluation sets, as data sets or recipes of `eval`, whose prompts are looked for in the documents that are learned from;
    [] looks for none."""

    @field_validator("data")
    @classmethod
    def _is_text(cls, data: DataConfig) -> DataConfig:
        return _as_text(data)


class PlainSettings(TrainingConfig):
    """Settings of `rlllm pretrain` with plain next-token training."""

    stage: ClassVar[str] = "pretrain"
    aliases: ClassVar[Mapping[str, str]] = {key: place for key, place in SAMPLING_ALIASES.items() if key != "reward"}
    trl_configs: ClassVar[tuple[str, ...]] = ("SFTConfig",)

    data: DataConfig = DataConfig(name="text:rlllm")
    """The text: a file, a folder, a table, a Hub id (each with or without `text:` in front), or `text:rlllm`."""
    positions: PositionsConfig = PositionsConfig()
    """Which positions of the text are learned, and how they are shown."""
    against: Names = Field(default_factory=lambda: ["eval/quickstart"])
    """Evaluation sets, as data sets or recipes of `eval`, whose prompts are looked for in the documents that are learned from;
    [] looks for none."""
    eval: SampledHoldoutConfig = SampledHoldoutConfig()
    """Measurement before and after."""
    rollout: CompletionConfig = CompletionConfig(max_new_tokens=64)
    """How completions are sampled when the model is measured."""
    max_tokens: int | None = Field(None, ge=1)
    """Stop at the step that brings the tokens of prompts and completions to this number (metric `num_tokens`), such as that of
    a run with another method. Default: max_steps alone decides."""

    @field_validator("data")
    @classmethod
    def _is_text(cls, data: DataConfig) -> DataConfig:
        return _as_text(data)


def _plan(config: PretrainSettings, method: Method, trainer: Trainer[Any, Any]) -> RLPlan[PretrainSettings]:
    start = _start(config, method, trainer)
    rewards = config.rewards or [_REWARD]
    plan = replace(plan_rl(start, rewards), positions=start.positions)
    check_own_reward(plan)
    return with_cards(plan, rewards)


def _plan_plain(config: PlainSettings, method: Method, trainer: Trainer[Any, Any]) -> Plan[PlainSettings]:
    plan = _start(config, method, trainer)
    return replace(plan, eval_reward=resolve_rewards([_REWARD], plan.loaded))


def _start(config: Any, method: Method, trainer: Trainer[Any, Any]) -> Plan[Any]:
    source = source_of(config.model)
    positions = with_defaults(config, method, SizeDefaults()).positions
    text = load_positions(config.data, positions, source, config.model, trainer.record)
    return replace(plan_of(config, method, trainer, source, text.loaded), positions=text.counts)


def _build(job: Job[Any], callbacks: list[Any]) -> Any:
    _go_on_with_the_text(job)
    return rl.build(job, callbacks)


def _build_plain(job: Job[Any], callbacks: list[Any]) -> Any:
    _go_on_with_the_text(job)
    return sft.build_rows(job, callbacks)


def _go_on_with_the_text(job: Job[Any]) -> None:
    """Take the chat template off the tokenizer until the model is saved, so that a prompt is the text and nothing around it."""
    if not job.plan.config.positions.chat:
        job.tokenizer.chat_template = None


def _keep(job: Job[Any], trained: Any) -> None:
    """Give the tokenizer its template back, so that the saved model has it."""
    from rlllm.policies.loading import load_tokenizer

    job.tokenizer.chat_template = load_tokenizer(job.plan.source).chat_template


@contextmanager
def _shown_as_trained(job: Job[Any]) -> Iterator[None]:
    template = job.tokenizer.chat_template
    _go_on_with_the_text(job)
    try:
        yield
    finally:
        job.tokenizer.chat_template = template


def _measure(job: Job[Any], model: Any) -> list[Measured]:
    """Next-token accuracy on held-out positions: behind a thought, without one, and behind another's; then pass@1."""
    from rlllm.evals.next_token import measure_next_token

    plan = job.plan
    if not plan.measured_on:
        return []
    with _shown_as_trained(job):
        return measure_next_token(
            model,
            job.tokenizer,
            list(map(as_task, plan.measured_on)),
            plan.eval_reward or plan.rewards,
            plan.config.rollout.sampling,
            samples=plan.config.eval.samples,
            seed=plan.config.seed,
        )


THOUGHT = Trainer(
    name="pretrain",
    record=PromptTask,
    settings={"pretrain": PretrainSettings},
    plan=_plan,
    run=train,
    build=_build,
    measure=_measure,
    observe=rl.observe,
    keep=_keep,
    prompt_tokens=rl.prompt_tokens,
    size_defaults="loop",
)
PLAIN = Trainer(
    name="pretrain-plain",
    record=Conversation,
    settings={"pretrain": PlainSettings},
    plan=_plan_plain,
    run=train,
    build=_build_plain,
    measure=_measure,
    keep=_keep,
    batch_tokens=sft.TRAINER.batch_tokens,
    size_defaults="sft",
)
