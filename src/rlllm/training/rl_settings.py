"""Settings of the six-slot loop, and the part of a plan that only it needs. Shared by every verb that can run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from inspect import signature
from typing import Any, ClassVar, Literal

from pydantic import Field

from rlllm.algorithms.registry import SLOTS
from rlllm.core import trl_fields
from rlllm.core.argument_types import converted
from rlllm.core.config import PartSpec, Section
from rlllm.core.errors import ConfigError, closest, unknown
from rlllm.policies.model_sources import ModelSource, resolve_model
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.isolation.sandbox.jobs import Isolation
from rlllm.rollouts.config import RolloutConfig
from rlllm.rollouts.registry import ENGINES
from rlllm.training.batch_arithmetic import plan_batches
from rlllm.training.plan import Plan, named_models, processes, resolve_rewards
from rlllm.training.settings import TrainingConfig

GENERATE_ONLY = (
    "min_p",
    "repetition_penalty",
    "generation_kwargs",
    "cache_implementation",
    "use_vllm",
    "use_transformers_continuous_batching",
    "use_transformers_paged",
)
"""TRL settings of sampling that only TRL's own generation reads, which is the engine `hf`."""
DEFAULT_SLOTS = {"sampler": "shuffle", "advantage": "group", "mask": "all", "surrogate": "plain"}
WORDS = {
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"),
    "importance_sampling_level": ("token", "sequence"),
    "scale_rewards": ("group", "batch", "none"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
}
"""Settings to the words TRL knows for them. TRL finds out about others in the first step only."""


class SlotSpec(PartSpec):
    """A slot component: `random`, or `{name: random, fraction: 0.2}`."""

    noun: ClassVar[str] = "component"
    name: str = ""
    """A name from `rlllm methods ls --slots`, `path/to/file.py:Component`, or `package.module:Component`. Default: the
    method's own component."""


class KLConfig(Section):
    """The pull towards the starting model. Its coefficient is TRL's `beta`; 0 means no reference model at all."""

    where: Literal["loss", "reward", "nowhere"] = "loss"
    """`loss` adds it to every token's loss (GRPO), `reward` takes it off every token's reward (PPO); `nowhere` only keeps the
    reference."""
    target: float | None = Field(None, gt=0)
    """Moves the coefficient so that a completion's KL stays near this many nats (Ziegler et al. 2019, arXiv 1909.08593).
    Default: fixed."""
    horizon: int = Field(2000, ge=1)
    """Completions over which the adaptive coefficient reacts."""


class CriticConfig(Section):
    """The value model behind `advantage=gae` (PPO)."""

    init: str = "policy"
    """Where its weights start: `policy`, `reward` (the first reward model, if it has the policy's tokenizer), or a model."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate, on the policy's schedule. Default: five times the policy's."""
    warmup_steps: int = Field(0, ge=0)
    """Steps from the start in which only the critic learns (value pretraining: VC-PPO, arXiv 2503.01491)."""
    clip: float | None = Field(0.2, gt=0)
    """Range around the old value in which a new value may move without loss clipping (Schulman et al.'s code); null: none."""
    share_backbone: bool = False
    """Policy, reference, critic and adapter-trained reward models on one frozen backbone; needs `lora`."""


class LoopSettings(TrainingConfig):
    """What every verb that runs the loop may set."""

    loop_aliases: ClassVar[Mapping[str, str]] = {
        "num_generations": "rollout.group_size",
        "max_completion_length": "rollout.max_new_tokens",
        "max_new_tokens": "rollout.max_new_tokens",
        "temperature": "rollout.temperature",
        "top_p": "rollout.top_p",
        "top_k": "rollout.top_k",
        "reward": "rewards",
    }

    rewards: list[RewardSpec] = Field(default_factory=list)
    """What a completion is worth: names, reward-model runs, folders or Hub ids, weighted. A weight of 0 only watches."""
    require_card: bool = False
    """Refuse to train on a reward whose card is missing, stale or failed; see `rlllm rewards test`."""
    sandbox: Isolation = "full"
    """How rewards isolate programs that the model wrote. `none` runs them as you, with your files and your network."""
    rollout: RolloutConfig = RolloutConfig()
    """How completions are sampled."""
    sampler: SlotSpec | None = None
    """Which prompts, how often. Default: the method's."""
    advantage: SlotSpec | None = None
    """Advantage of each completion or token. Default: the method's."""
    mask: SlotSpec | None = None
    """Which tokens learn. Default: the method's."""
    surrogate: SlotSpec | None = None
    """What the loss sees of each token's probability. Default: the method's."""
    kl: KLConfig = KLConfig()
    """Where the KL term enters and how its coefficient moves."""
    critic: CriticConfig = CriticConfig()
    """The value model, for methods whose advantage is `gae`."""
    max_tokens: int | None = Field(None, ge=1)
    """Stop at the step that brings the tokens of prompts and completions, rejected ones included, to this number (metric
    `num_tokens`). Makes methods comparable that sample more a step. Default: max_steps alone decides."""
    stop_when_flat: int = Field(20, ge=0)
    """Stop after this many steps from the start in which no two completions to compare had different rewards; 0 never stops."""


def plan_loop(plan: Plan, rewards: list[RewardSpec]) -> Plan:
    """Add to a plan what the loop needs: slots, rewards, TRL's rollout settings and the batch arithmetic.

    Raises:
        ConfigError: an unknown component or engine, numbers that do not divide, or choices that make no sense together.
    """
    config = plan.config
    assert isinstance(config, LoopSettings)
    rollout = config.rollout
    settings = {
        **plan.settings,
        "num_generations": rollout.group_size,
        "max_completion_length": rollout.max_new_tokens,
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "top_k": rollout.top_k,
    }
    mix = _mix(rollout.mix)
    preset = {
        **_presets(mix),
        **plan.method.components,
        **({} if settings.get("shuffle_dataset", True) else {"sampler": "in-order"}),
    }
    slots = {slot: _slot(config, slot, preset) for slot in DEFAULT_SLOTS}
    slots = {**slots, "advantage": _with_beta(slots["advantage"], settings), **mix}
    chosen = {slot: component(slot, spec) for slot, spec in slots.items()}
    for part in chosen.values():
        settings = {**settings, **getattr(part, "settings", {}), **config.trainer}
    _check_words(settings)
    advantage = chosen["advantage"]
    composition = resolve_rewards(
        rewards, plan.loaded, monitored_only=getattr(advantage, "ignores_rewards", False), sandbox=config.sandbox
    )
    if hasattr(advantage, "check"):
        advantage.check(composition.names, composition.weights)
    if rollout.engine not in ENGINES:
        ENGINES.load(rollout.engine)
    _check_engine(rollout.engine, settings)
    batches = plan_batches(settings, rollout.group_size, processes())
    _check_together(config, slots["advantage"].name, advantage, settings)
    for slot, part in chosen.items():
        _check_part(f"{slot}={slots[slot].name}", part, plan, rollout)
    if batches.completions_per_rollout < 2:
        raise ConfigError("a rollout has at least two completions", given="1", hint="raise the batch size")
    if "values" in getattr(advantage, "needs", ()):
        _check_critic(config, settings)
        critic_source(config, plan.source)
    else:
        _refuse_critic(config, slots["advantage"].name)
    return replace(
        plan,
        settings={**settings, "reward_weights": composition.weights},
        rewards=composition,
        batches=batches,
        slots=slots,
    )


def _check_engine(engine: str, settings: Mapping[str, Any]) -> None:
    """Settings of sampling that the engine would pass over without a word."""
    known = trl_fields.table("GRPOConfig")
    unread = [name for name in GENERATE_ONLY if name in settings and settings[name] != known[name]["default"]]
    if unread and engine != "hf":
        raise ConfigError(
            f"the engine {engine} does not read {', '.join(unread)}",
            given=", ".join(f"{name}={settings[name]}" for name in unread),
            hint="rollout.engine=hf, or leave it out",
        )


def _mix(given: Any) -> dict[str, SlotSpec]:
    """The component of `rollout.mix` as a slot of its own; none where nothing is mixed in."""
    if given is None:
        return {}
    spec = SlotSpec.model_validate(given)
    return {"mix": _known("mix", spec.model_copy(update={"name": spec.name or "traces"}))}


def _presets(mix: Mapping[str, SlotSpec]) -> dict[str, str]:
    """Components that go with a mix, where neither the method nor the user says otherwise."""
    return {
        slot: name for spec in mix.values() for slot, name in getattr(component("mix", spec), "presets", {}).items()
    }


def _check_words(settings: Mapping[str, Any]) -> None:
    for name, words in WORDS.items():
        if name in settings and settings[name] not in words:
            raise unknown(name, str(settings[name]), words)


def _check_part(name: str, part: Any, plan: Plan, rollout: RolloutConfig) -> None:
    """Whether a component can do with the rollouts and the data. Raises ConfigError."""
    group_size = rollout.group_size
    if group_size == 1 and getattr(part, "compares_group", False):
        raise ConfigError(
            f"{name} compares the completions of one prompt, so it needs at least two",
            given="rollout.group_size=1",
            hint="rollout.group_size=8",
        )
    if getattr(part, "needs_mix", False) and rollout.mix is None:
        raise ConfigError(
            f"{name} shapes completions that another model wrote, and this run has none",
            given="no rollout.mix",
            hint="rollout.mix=traces, or method=luffy",
        )
    if hasattr(part, "check_group"):
        part.check_group(group_size)
    if hasattr(part, "check_tasks"):
        part.check_tasks(plan.loaded.train)


def _slot(config: LoopSettings, slot: str, preset: Mapping[str, str]) -> SlotSpec:
    spec = getattr(config, slot) or SlotSpec()
    spec = spec.model_copy(update={"name": spec.name or preset.get(slot, DEFAULT_SLOTS[slot])})
    return _known(slot, spec)


def _known(slot: str, spec: SlotSpec) -> SlotSpec:
    if ":" not in spec.name and _target(slot, spec) not in SLOTS:
        own = [name.partition(".")[2] for name in SLOTS.names() if name.startswith(f"{slot}.")]
        raise unknown(slot, spec.name, own, list_command="rlllm methods ls --slots")
    return spec


def _with_beta(advantage: SlotSpec, settings: Mapping[str, Any]) -> SlotSpec:
    """A advantage with a beta of its own (DPO's) takes TRL's, which is the one users give; its own field goes first."""
    target = SLOTS.load(_target("advantage", advantage))
    if not (is_dataclass(target) and any(field.name == "beta" for field in fields(target))):
        return advantage
    return advantage.model_copy(update={"params": {"beta": settings.get("beta", 0.0), **advantage.params}})


def _target(slot: str, spec: SlotSpec) -> str:
    return spec.name if ":" in spec.name else f"{slot}.{spec.name}"


def component(slot: str, spec: SlotSpec) -> Any:
    """The slot component with its fields set: an object of a class, or a function that is one itself.

    Raises:
        ConfigError: a field it does not have, or whose value it cannot take.
    """
    target = SLOTS.load(_target(slot, spec))
    if not callable(target):
        raise ConfigError(f"{slot} {spec.name} cannot be called", given=repr(target), hint="name a class or a function")
    arguments = converted(target, spec.params, f"{slot} {spec.name}")
    try:
        return target(**arguments) if isinstance(target, type) else _bound(target, arguments)
    except TypeError as error:
        own = [field.name for field in fields(target) if field.init] if is_dataclass(target) else []
        near = [word for name in spec.params if name not in own and (word := closest(name, own))]
        other = None if own else f"leave them out, or name a component that does: {slot}=NAME"
        raise ConfigError(
            f"{slot} {spec.name} does not take these fields: {str(error).rpartition('() ')[2]}",
            given=", ".join(f"{name}={value}" for name, value in spec.params.items()) or None,
            exists=own,
            hint=f"did you mean {near[0]}?" if near else other,
        ) from error


def _bound(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """The function with these arguments given. Raises TypeError for one it does not take."""
    signature(function).bind_partial(**arguments)
    return partial(function, **arguments) if arguments else function


def critic_source(config: LoopSettings, policy: ModelSource) -> ModelSource:
    """The model whose weights the critic starts from.

    Raises:
        ConfigError: it shall start from a reward model, and no single one is among the rewards.
        ModelError: the model it names does not exist.
    """
    if config.critic.init == "policy":
        return policy
    if config.critic.init != "reward":
        return resolve_model(config.critic.init)
    models = [spec for spec in named_models(config.rewards) if spec.name == "model" and "path" in spec.params]
    if not models:
        raise ConfigError(
            "critic.init=reward needs a reward model among the rewards", hint="--reward RUN, or critic.init=policy"
        )
    return resolve_model(str(models[0].params["path"]))


def _refuse_critic(config: LoopSettings, advantage: str) -> None:
    """A critic's settings without a critic would be read by nothing."""
    unread = sorted(config.critic.model_fields_set - {"share_backbone"})
    if unread:
        raise ConfigError(
            f"advantage={advantage} has no critic",
            given=", ".join(f"critic.{name}" for name in unread),
            hint="leave it out, or take a critic: --method ppo",
        )


def _check_critic(config: LoopSettings, settings: Mapping[str, Any]) -> None:
    if settings.get("fp16"):
        raise ConfigError(
            "a critic's optimizer cannot step on gradients that fp16 training has scaled",
            given="fp16=true",
            hint="bf16=true, or neither",
        )
    if 0 < settings.get("max_steps", -1) <= config.critic.warmup_steps:
        raise ConfigError(
            "the policy would never learn: the critic warms up for the whole run",
            given=f"critic.warmup_steps={config.critic.warmup_steps}, max_steps={settings['max_steps']}",
            hint="more steps, or a shorter warm-up",
        )


def _check_together(config: LoopSettings, name: str, advantage: Any, settings: Mapping[str, Any]) -> None:
    if config.rollout.group_size == 1 and getattr(advantage, "compares_group", False):
        raise ConfigError(
            f"advantage={name} compares the completions of one prompt, so it needs at least two",
            given="rollout.group_size=1",
            hint="rollout.group_size=8, or a method that takes one: ppo, remax",
        )
    if config.kl.where == "reward" and getattr(advantage, "ignores_penalty", False):
        raise ConfigError(
            f"advantage={name} does not see a KL penalty in the reward",
            given="kl.where=reward",
            hint="kl.where=loss, or a advantage that does: rloo, gae",
        )
    if config.kl.target is not None and not settings.get("beta"):
        raise ConfigError(
            "an adaptive KL coefficient has to start above 0", given=f"kl.target={config.kl.target}", hint="beta=0.05"
        )
    if config.kl.target is not None and config.kl.where == "nowhere":
        raise ConfigError(
            "kl.where=nowhere adds no KL term whose coefficient could move",
            given=f"kl.target={config.kl.target}",
            hint="kl.where=loss, or leave out kl.target",
        )
    if config.critic.share_backbone and config.lora is None:
        raise ConfigError("one backbone for all is shared through adapters", hint="add lora.r=16")
