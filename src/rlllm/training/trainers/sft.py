"""Supervised fine-tuning: cross-entropy on example completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from rlllm.algorithms.tokenized_preview import tokens_by_labels
from rlllm.core.errors import ConfigError
from rlllm.core.records import Conversation, Message, Prompt, task_of
from rlllm.rewards.config import RewardSpec, SandboxPlace
from rlllm.rollouts.config import CompletionConfig
from rlllm.training.flow import Job, train
from rlllm.training.plan import Plan, start_plan
from rlllm.training.reward_specs import resolve_rewards
from rlllm.training.settings import SAMPLING_ALIASES, SampledHoldoutConfig, TrainingConfig
from rlllm.training.trainers.base import Trainer
from rlllm.training.truncation import note_rows

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


Turns = Literal["all", "last", "each"]


class SFTSettings(TrainingConfig):
    """Settings of `rlllm sft`."""

    stage: ClassVar[str] = "sft"
    aliases: ClassVar[Mapping[str, str]] = {key: place for key, place in SAMPLING_ALIASES.items() if key != "reward"}
    trl_configs: ClassVar[tuple[str, ...]] = ("SFTConfig",)

    eval: SampledHoldoutConfig = SampledHoldoutConfig()
    """Measurement before and after: the loss on held-out completions; with `eval_reward` pass@1 as well."""
    eval_reward: RewardSpec | None = None
    """A reward that measures completions of held-out prompts before and after: pass@1, the share that it gives at least 1, as
    `rlllm reason` does. Default: none, and nothing is sampled."""
    rollout: CompletionConfig = CompletionConfig(max_new_tokens=256)
    """How completions are sampled for `eval_reward`."""
    turns: Turns = "all"
    """Which turns of the assistant train: `all` in one sequence, but those that the data marks with `weight: 0` or
    `training: false`; the `last`; or `each` in a sequence of its own that ends with it."""
    sandbox: SandboxPlace = "full"
    """How `eval_reward` isolates programs that the model wrote. `none` runs them as you, with your files and your network; a
    URL has them run by a server of SandboxFusion's protocol."""
    max_tokens: int | None = Field(None, ge=1)
    """Stop at the step that brings the tokens of prompts and completions to this number (metric `num_tokens`). Default:
    max_steps alone decides."""


@dataclass(frozen=True, kw_only=True)
class SFTPlan(Plan[SFTSettings]):
    """A plan that says which turns of conversations train."""

    def _trainer_lines(self) -> list[tuple[str, str]]:
        turns = self._turns()
        if turns["rows"] == 0 or (turns["of"] == turns["rows"] and self.config.turns == "all"):
            return []
        trained = f"{self.config.turns}: {turns['trained']:,} of {turns['of']:,} turns of the assistant train"
        where = {
            "all": f"in {turns['rows']:,} conversations",
            "last": f"the last of each of {turns['rows']:,} conversations",
            "each": f"each in a sequence of its own, of {turns['rows']:,} conversations",
        }
        rows = [("turns", f"{trained}, {where[self.config.turns]}")]
        if not _completion_only(self):
            rows.append(("", "completion_only_loss=false: all else in those sequences trains, too"))
        return rows

    def _turns(self) -> dict[str, int]:
        """Conversations among the training rows, the assistant's turns up to the last that trains, and those that train."""
        chats = [record for record in self.loaded.train if record.prompt]
        spoken = sum(message["role"] == "assistant" for record in chats for message in _messages(record.prompt))
        earlier = 0 if self.config.turns == "last" else sum(len(record.trained_turns) for record in chats)
        return {"rows": len(chats), "of": len(chats) + spoken, "trained": len(chats) + earlier}

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "turns": {"setting": self.config.turns, **self._turns()}}


def _completion_only(plan: Plan[SFTSettings]) -> bool:
    """Whether only turns that train have labels; else every token of a sequence has."""
    return bool(plan.setting("completion_only_loss") is not False or plan.setting("assistant_only_loss"))


def _messages(prompt: Prompt) -> list[Message]:
    return [] if isinstance(prompt, str) else prompt


def _plan(config: SFTSettings, method: Any, trainer: Trainer[Any, Any]) -> SFTPlan:
    plan = SFTPlan(**vars(start_plan(config, method, trainer)))
    if config.turns == "last" and plan.setting("assistant_only_loss"):
        raise ConfigError(
            "turns=last trains one turn of a conversation, and assistant_only_loss=true all of them",
            given="turns=last assistant_only_loss=true",
            hint="leave one out; turns=all is the default, with any chat template",
        )
    if config.eval_reward is None:
        _refuse_unread(config)
        return plan
    return replace(plan, eval_reward=resolve_rewards([config.eval_reward], plan.loaded, sandbox=config.sandbox))


def _refuse_unread(config: SFTSettings) -> None:
    """Raise ConfigError for settings of sampling, which nothing reads without a reward to measure by."""
    default = SFTSettings(method=config.method)
    for name, given, usual in (
        ("rollout", config.rollout, default.rollout),
        ("eval.samples", config.eval.samples, default.eval.samples),
    ):
        if given != usual:
            raise ConfigError(f"sft reads {name} only with an eval_reward", given=given, hint="eval_reward=exact")


def _build(job: Job[Plan[SFTSettings]], callbacks: list[Any]) -> Any:
    return build_rows(job, callbacks, job.plan.config.turns)


def build_rows(job: Job[Plan[Any]], callbacks: list[Any], turns: Turns = "all") -> Any:
    """The trainer of a plan whose rows are conversations.

    Args:
        job: with a plan whose settings have `max_tokens`.
        callbacks: of the run.
        turns: which of the assistant's turns train.
    """
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.callbacks import TokenBudget
    from rlllm.algorithms.sealed_trainers import Supervised
    from rlllm.policies.turn_masks import check_chat, with_turns

    budget, records = job.plan.config.max_tokens, with_turns(job.plan.loaded.train, turns)
    arguments = job.arguments()
    whole_turns = arguments.assistant_only_loss
    arguments.assistant_only_loss = False  # the rows have their labels, with any template

    def encode(tokenizer: Any) -> Any:
        if whole_turns:
            check_chat(tokenizer, "assistant_only_loss=true")
        return to_trl_dataset.conversations(records, tokenizer, completion_only=_completion_only(job.plan))

    trainer = Supervised(
        model=job.model,
        args=arguments,
        encode=encode,
        train_dataset=to_trl_dataset.columns_of(records, job.tokenizer),
        processing_class=job.processing_class,
        peft_config=job.adapters(),
        callbacks=[*callbacks, *([TokenBudget(job.diagnostics, budget)] if budget else [])],
    )
    return note_rows(job, trainer, records)


def _measure(job: Job[Plan[SFTSettings]], model: Any) -> list[Measured]:
    """pass@1 by the eval reward if there is one, then the loss on held-out completions in nats per token."""
    from rlllm.evals.before_after import measure_loss, measure_pass
    from rlllm.policies.turn_masks import with_turns

    plan = job.plan
    held_out, config = plan.measured_on, plan.config
    if not held_out:
        return []
    losses = measure_loss(model, job.tokenizer, with_turns(held_out, config.turns))
    if plan.eval_reward is None:
        return [losses]
    tasks, sampling = [task_of(record) for record in held_out], config.rollout.sampling
    samples, seed = config.eval.samples, config.seed
    return [
        *measure_pass(model, job.tokenizer, tasks, plan.eval_reward, sampling, samples=samples, seed=seed),
        losses,
    ]


TRAINER = Trainer(
    name="sft",
    record=Conversation,
    settings={"sft": SFTSettings},
    plan=_plan,
    run=train,
    build=_build,
    measure=_measure,
    batch_tokens=tokens_by_labels,
    size_defaults="sft",
    reads_images=True,
)
