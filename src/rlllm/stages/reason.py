"""`rlllm reason`: reinforcement learning from verifiable rewards, in the six-slot loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, model_validator

from rlllm.core.builtins import ENGINES, SLOTS
from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask
from rlllm.core.runs import Run, append_jsonl
from rlllm.core.verdict import Facts
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import RolloutConfig, SamplingConfig
from rlllm.stages.batches import plan_batches
from rlllm.stages.plan import Plan, plan_training, processes, resolve_rewards
from rlllm.stages.settings import TrainingConfig
from rlllm.stages.training import Job, Parts, load_causal_model, train

DEFAULT_SLOTS = {"sampler": "shuffle", "credit": "group", "mask": "all"}


class SlotSpec(Section):
    """A slot component: `random`, or `{name: random, fraction: 0.2}`."""

    name: str
    """A name from `rlllm methods ls --slots`, `path/to/file.py:Component`, or `package.module:Component`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Fields of the component; every other key of the mapping form lands here."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, Mapping):
            return value
        extra = {key: item for key, item in value.items() if key not in cls.model_fields}
        return {"name": value.get("name"), "params": {**(value.get("params") or {}), **extra}}


class ReasonStage(TrainingConfig):
    """Settings of `rlllm reason`."""

    stage: ClassVar[str] = "reason"
    trl_config: ClassVar[str] = "GRPOConfig"
    aliases: ClassVar[Mapping[str, str]] = {
        "num_generations": "rollout.group_size",
        "max_completion_length": "rollout.max_new_tokens",
        "temperature": "rollout.temperature",
        "top_p": "rollout.top_p",
        "top_k": "rollout.top_k",
        "loss": "trainer.loss_type",
        "reward": "rewards",
    }

    method: str = "grpo"
    """Preset of the slots; see `rlllm methods ls --stage reason`."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """What a completion is worth; the first decides what passes. Default: the data source's own."""
    rollout: RolloutConfig = RolloutConfig()
    """How completions are sampled."""
    sampler: SlotSpec | None = None
    """Which prompts, how often. Default: the method's."""
    credit: SlotSpec | None = None
    """Advantage of each completion or token. Default: the method's."""
    mask: SlotSpec | None = None
    """Which tokens learn. Default: the method's."""
    stop_when_flat: int = Field(20, ge=0)
    """Stop after this many steps from the start in which no group had two different rewards; 0 never stops."""

    def plan(self) -> Plan:
        plan = plan_training(self, PromptTask, self.method)
        rollout = self.rollout
        settings = {
            **plan.settings,
            "num_generations": rollout.group_size,
            "max_completion_length": rollout.max_new_tokens,
            "temperature": rollout.temperature,
            "top_p": rollout.top_p,
            "top_k": rollout.top_k,
        }
        rewards = resolve_rewards(self.rewards, plan.loaded)
        preset = {**plan.method.slots, **({} if settings.get("shuffle_dataset", True) else {"sampler": "in-order"})}
        slots = {slot: self._slot(slot, preset) for slot in DEFAULT_SLOTS}
        if rollout.engine not in ENGINES:
            ENGINES.load(rollout.engine)
        return replace(
            plan,
            settings={**settings, "reward_weights": rewards.weights},
            rewards=rewards,
            batches=plan_batches(settings, rollout.group_size, processes()),
            slots=slots,
        )

    def _slot(self, slot: str, preset: Mapping[str, str]) -> SlotSpec:
        spec = getattr(self, slot) or SlotSpec(name=preset.get(slot, DEFAULT_SLOTS[slot]))
        if ":" not in spec.name and f"{slot}.{spec.name}" not in SLOTS:
            own = [name.partition(".")[2] for name in SLOTS.names() if name.startswith(f"{slot}.")]
            raise ConfigError(
                f"unknown {slot}: {spec.name}", exists=own, hint="list them with: rlllm methods ls --slots"
            )
        return spec


def run(config: ReasonStage, **options: Any) -> Run:
    """Reinforce with verifiable rewards; measures pass@1 on held-out prompts before and after.

    Options are those of `stages.training.train`: listener, resume, overwrite, recipe, command.
    """
    return train(config.plan(), Parts(load_causal_model, _build, _measure, observe=_observe), **options)


def component(slot: str, spec: SlotSpec) -> Any:
    """The slot component with its fields set. Raises ConfigError for a field it does not have."""
    target = SLOTS.load(spec.name if ":" in spec.name else f"{slot}.{spec.name}")
    try:
        return target(**spec.params)
    except TypeError as error:
        raise ConfigError(f"{slot} {spec.name} does not take these fields: {error}", given=dict(spec.params)) from error


def _build(job: Job, callbacks: list[Any]) -> Any:
    from rlllm.algorithms import rows
    from rlllm.algorithms.loop import PolicyLoop, Slots

    config = job.config
    assert isinstance(config, ReasonStage)
    assert job.plan.rewards is not None
    slots = Slots(
        rewards=job.plan.rewards,
        engine=None if config.rollout.engine == "hf" else ENGINES.load(config.rollout.engine),
        **{slot: component(slot, spec) for slot, spec in job.plan.slots.items()},
    )
    loop = PolicyLoop(
        slots=slots,
        tasks=job.plan.loaded.train,
        on_rollout=lambda batch: append_jsonl(job.run.path / "samples.jsonl", batch),
        model=job.model,
        args=job.arguments("GRPOConfig"),
        train_dataset=rows.tasks(job.plan.loaded.train, job.tokenizer),
        processing_class=job.tokenizer,
        peft_config=job.adapters(),
        callbacks=callbacks,
    )
    loop.recall(job.run.samples())
    return loop


def _measure(job: Job, model: Any) -> Any:
    from rlllm.evals.measures import measure_pass

    config = job.config
    assert isinstance(config, ReasonStage)
    assert job.plan.rewards is not None
    held_out = job.plan.loaded.holdout[: config.eval.rows]
    if not held_out:
        return None
    rollout = config.rollout
    sampling = SamplingConfig(
        engine=rollout.engine,
        max_new_tokens=rollout.max_new_tokens,
        temperature=rollout.temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
    )
    return measure_pass(
        model,
        job.tokenizer,
        held_out,
        job.plan.rewards,
        sampling,
        samples=config.eval.samples,
        seed=config.seed,
    )


def _observe(trainer: Any, facts: Facts) -> None:
    facts.reward_rows = trainer.reward_rows
    facts.reward_undefined = trainer.reward_undefined
    facts.reward_spread = trainer.reward_spread
