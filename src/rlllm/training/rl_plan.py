"""The plan of a run that samples completions and learns from their rewards: components, rewards and batches, all checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rlllm.algorithms.component_dry_run import try_out
from rlllm.algorithms.components import Components, SlotSpec, component, known, takes
from rlllm.algorithms.losses.base import AGGREGATIONS
from rlllm.algorithms.losses.trl import BY_LOSS_TYPE, LOSS_SETTINGS
from rlllm.algorithms.protocols import (
    Advantage,
    Component,
    Dialogue,
    Erasure,
    OffPolicy,
    PolicyLoss,
    Reflection,
    Sampler,
    Setup,
)
from rlllm.core import trl_fields
from rlllm.core.config import LoadingConfig
from rlllm.core.errors import ConfigError, closest, unknown
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.launch.settings import CLUSTERS
from rlllm.launch.topology import processes_of
from rlllm.policies.model_sources import ModelSource, resolve_model
from rlllm.rewards.composition import Composition
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import RolloutConfig
from rlllm.rollouts.engines.choice import PROVEN_OF_TRL, has_gpu
from rlllm.rollouts.engines.loading import check_engine
from rlllm.training.batch_arithmetic import ROLLOUT_UPDATES, plan_batches, several_updates
from rlllm.training.equal_methods import DEFAULT_COMPONENTS, UPDATE_SETTINGS, equal_method, idle_settings
from rlllm.training.images import check_slots
from rlllm.training.plan import Plan, RLPlan, refuse_several_processes
from rlllm.training.reward_specs import named_models, resolve_rewards
from rlllm.training.rl_settings import KLConfig, RLSettings
from rlllm.training.role_adapters import check_role_adapters
from rlllm.training.rollout_correction import check_correction

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.algorithms.signals.base import Signal

RLConfigT = TypeVar("RLConfigT", bound=RLSettings)
_GENERATE_ONLY = (
    "min_p",
    "repetition_penalty",
    "generation_kwargs",
    "cache_implementation",
    "use_vllm",
    "use_transformers_continuous_batching",
    "use_transformers_paged",
)
"""TRL settings of sampling that only TRL's own generation reads, which is the engine `hf`."""
WORDS = {
    "loss_type": tuple(BY_LOSS_TYPE),
    "importance_sampling_level": ("token", "sequence"),
    "scale_rewards": ("group", "batch", "none"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
}
"""Settings to the words TRL knows for them. TRL finds out about others in the first step only."""


def plan_rl(plan: Plan[RLConfigT], rewards: Sequence[RewardSpec]) -> RLPlan[RLConfigT]:
    """Add to a plan what RL needs: components, rewards, TRL's rollout settings and the batch arithmetic.

    Raises:
        ConfigError: an unknown component or engine, numbers that do not divide, or choices that make no sense together.
    """
    config = plan.config
    rollout = config.rollout
    settings = {**_with_defaults(config, plan.method, plan.settings), **_sampling_settings(rollout)}
    slots = _slots(config, plan.method, settings)
    components = Components.of(slots)
    for part in components.by_slot.values():
        settings = {**settings, **part.trl_settings, **config.trainer}
    settings = _loss_settings(slots["loss"].name, components.by_slot["loss"], settings, config.trainer)
    _check_words(settings)
    advantage = cast(Advantage, components.by_slot["advantage"])
    composition = resolve_rewards(
        rewards, plan.loaded, monitored_only=advantage.ignores_rewards, sandbox=config.sandbox
    )
    read = PROVEN_OF_TRL if settings.get("use_vllm") else ()
    check_engine(rollout.engine, images=plan.has_images, settings=rollout, trains=True, serving=read)
    _check_engine_settings(rollout.engine, settings)
    settings |= check_correction(config.rollout_correction, rollout.engine, slots, settings)
    processes, rows = processes_of(config.launch), len(plan.loaded.train)
    settings |= several_updates(plan.method.updates, settings, config.trainer, rollout.group_size, rows, processes)
    batches = plan_batches(settings, rollout.group_size, processes)
    _check_kl(config, slots["advantage"].name, advantage, settings)
    _check_components(components, slots, _setup(plan, components, composition, settings), settings)
    check_role_adapters(config, components, settings)
    if plan.has_images:
        check_slots(slots, components.signals)
    if settings.get("use_vllm") and config.launch.name not in CLUSTERS:  # their machines make the plan once more
        _check_trl_vllm(settings)
    if batches.completions_per_rollout < 2:
        raise ConfigError("a rollout has at least two completions", given="1", hint="raise the batch size")
    if "values" in components.signals:
        _check_critic(config, settings)
        critic_source(config, plan.source)
    else:
        _refuse_critic(config, slots["advantage"].name)
    settings["reward_weights"] = composition.weights
    return RLPlan(
        config=config,
        method=plan.method,
        trainer=plan.trainer,
        source=plan.source,
        loaded=plan.loaded,
        settings=settings,
        sizes=plan.sizes,
        given=plan.given,
        rewards=composition,
        batches=batches,
        slots=slots,
        filter_reward=_filter_reward(slots["sampler"].name, cast(Sampler, components.by_slot["sampler"]), composition),
        equals=equal_method(config, plan.method, slots, settings, batches),
        idle=tuple(idle_settings(slots, settings, plan.given, plan.method, batches)),
        changes=_changes(plan, slots),
    )


def _setup(plan: Plan[RLConfigT], components: Components, rewards: Composition, settings: Mapping[str, Any]) -> Setup:
    """What components are told of the run."""
    return Setup(
        group_size=plan.config.rollout.group_size,
        tasks=plan.loaded.train,
        reward_names=rewards.names,
        reward_weights=rewards.weights,
        kl_in=plan.config.kl.where,
        off_policy="off_policy" in components.by_slot,
        loss=cast(PolicyLoss, components.by_slot["loss"]),
        erase=cast(Erasure | None, components.by_slot.get("erase")),
        reflect=cast(Reflection | None, components.by_slot.get("reflect")),
        signals=components.signals,
        sampler=cast(Sampler, components.by_slot["sampler"]),
        settings=settings,
    )


def _with_defaults(config: RLSettings, method: Method, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The TRL settings, with two that follow from others and that the user has not given.

    A preset's `epsilon_high` keeps its proportion to `epsilon` where the user gives `epsilon` alone: a bound made for ratios
    of whole completions (GSPO: 4e-4) means nothing beside one for tokens. A KL term of the loss is k3 (Shao et al. 2024,
    eq. 4), where TRL multiplies it by the importance ratio.
    """
    settings, preset = dict(settings), method.settings
    alone = "epsilon" in config.trainer and "epsilon_high" not in config.trainer
    if alone and {"epsilon", "epsilon_high"} <= preset.keys():
        high = config.trainer["epsilon"] * preset["epsilon_high"] / preset["epsilon"]
        settings["epsilon_high"] = float(f"{high:.6g}")
    if settings.get("beta") and config.kl.where == "loss":
        settings.setdefault("use_bias_correction_kl", False)
    return settings


def _changes(plan: Plan[Any], slots: Mapping[str, SlotSpec]) -> dict[str, tuple[Any, Any]]:
    """What was given otherwise than the method has it, components and settings of the update that it leaves to TRL included."""
    config, presets = plan.config, {**DEFAULT_COMPONENTS, **plan.method.components}
    changes: dict[str, tuple[Any, Any]] = {}
    for slot, spec in slots.items():
        given = getattr(config, slot)
        if spec.name != presets.get(slot) or (given is not None and given.params):
            name = "loss_type" if slot == "loss" and given is None else slot
            changes[name] = presets.get(slot), _short(spec if given is None or not given.params else given, spec.name)
    fields = trl_fields.table("GRPOConfig")
    for name in sorted(UPDATE_SETTINGS & config.trainer.keys() - plan.method.settings.keys()):
        if config.trainer[name] != fields[name]["default"]:
            changes[name] = fields[name]["default"], config.trainer[name]
    if plan.method.updates > 1:
        given = ROLLOUT_UPDATES & config.trainer.keys()
        changes |= {name: (f"{plan.method.updates} updates a rollout", config.trainer[name]) for name in sorted(given)}
    kl = {**KLConfig().model_dump(), **plan.method.defaults.get("kl", {})}
    own = {f"kl.{name}": (preset, getattr(config.kl, name)) for name, preset in kl.items()}
    return {**changes, **plan.changes, **{name: pair for name, pair in own.items() if pair[0] != pair[1]}}


def _short(spec: SlotSpec, name: str) -> str:
    """A component as it is typed."""
    fields = ", ".join(f"{key}: {value}" for key, value in spec.params.items())
    return f"{{name: {name}, {fields}}}" if fields else name


def _sampling_settings(rollout: RolloutConfig) -> dict[str, Any]:
    """The settings of a rollout under TRL's names."""
    return {
        "num_generations": rollout.group_size,
        "max_completion_length": rollout.max_new_tokens,
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "top_k": rollout.top_k,
    }


def _slots(config: RLSettings, method: Method, settings: Mapping[str, Any]) -> dict[str, SlotSpec]:
    """Slot -> specification of its component: the user's over the method's over what goes with it."""
    chosen = dict(method.components)
    if "loss_type" in config.trainer:
        if config.loss is not None and config.loss.name not in ("", config.trainer["loss_type"]):
            raise ConfigError(
                "the loss is given twice",
                given=f"loss={config.loss.name}, loss_type={config.trainer['loss_type']}",
                hint="leave out loss_type",
            )
        chosen["loss"] = str(config.trainer["loss_type"])
    if not settings.get("shuffle_dataset", True):
        chosen["sampler"] = "in-order"
    slots = {}
    off_policy = _slot(config, "off_policy", {"off_policy": "", **chosen})
    if off_policy.name:
        slots["off_policy"] = off_policy
        chosen = {**cast(OffPolicy, component("off_policy", off_policy)).goes_with, **chosen}
    for slot in ("erase", "dialogue", "reflect"):
        spec = _slot(config, slot, {slot: "", **chosen})
        if spec.name:
            slots[slot] = spec
    for slot in DEFAULT_COMPONENTS:
        slots[slot] = _slot(config, slot, {**DEFAULT_COMPONENTS, **chosen})
    return {**slots, "advantage": _with_beta(slots["advantage"], settings)}


def _slot(config: RLSettings, slot: str, names: Mapping[str, str]) -> SlotSpec:
    """The specification of a slot's component; its name is empty where no component is named."""
    spec = getattr(config, slot) or SlotSpec()
    spec = spec.model_copy(update={"name": spec.name or names[slot]})
    if not spec.name and spec.params:
        raise ConfigError(f"which {slot}?", given=str(spec.params), hint="list them with: rlllm methods ls --slots")
    return known(slot, spec) if spec.name else spec


def _loss_settings(name: str, loss: Any, settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The TRL settings without those of other losses. Raises ConfigError for one that the user gave and this loss ignores."""
    unread = sorted(key for key in given if key in LOSS_SETTINGS and key not in loss.reads_trl)
    if unread:
        readers = [other for other, kind in BY_LOSS_TYPE.items() if unread[0] in kind.reads_trl]
        raise ConfigError(
            f"loss={name} does not read {', '.join(unread)}",
            given=", ".join(f"{key}={given[key]}" for key in unread),
            hint=f"leave it out; {unread[0]} is read by the losses {', '.join(readers)}",
        )
    return {key: value for key, value in settings.items() if key not in LOSS_SETTINGS or key in loss.reads_trl}


def _check_components(
    components: Components, slots: Mapping[str, SlotSpec], setup: Setup, settings: Mapping[str, Any]
) -> None:
    """Whether the components can do with the run, and those from outside with a made-up rollout. Raises ConfigError."""
    for slot, part in components.by_slot.items():
        _check_component(f"{slot}={slots[slot].name}", part, setup)
    _check_signals(components.signals, settings)
    try_out({slot: part for slot, part in components.by_slot.items() if ":" in slots[slot].name}, components, setup)


def _check_component(name: str, part: Component, setup: Setup) -> None:
    """Whether a component can do with the groups and the data. Raises ConfigError."""
    if setup.group_size == 1 and part.compares_group:
        raise ConfigError(
            f"{name} compares the completions of one prompt, so it needs at least two",
            given="rollout.group_size=1",
            hint="rollout.group_size=8, or a method that takes one: ppo, remax",
        )
    if isinstance(part, PolicyLoss) and part.needs_off_policy and not setup.off_policy:
        raise ConfigError(
            f"{name} is about completions that another model wrote, and this run has none",
            given="no off_policy",
            hint="off_policy=demonstrations, or method=luffy",
        )
    if isinstance(part, Erasure):
        _check_erasure(name, setup)
    if isinstance(part, Dialogue):
        _check_dialogue(name, setup)
    if isinstance(part, Reflection):
        _check_reflection(name, setup)
    if isinstance(part, PolicyLoss) and part.aggregation not in AGGREGATIONS:
        raise unknown(f"aggregation of {name}", part.aggregation, AGGREGATIONS)
    if isinstance(part, Advantage) and part.per_token and setup.loss and setup.loss.shares_ratio(setup.settings):
        raise ConfigError(
            f"{name} gives each token an advantage of its own, and the tokens of a completion share one ratio in this run's "
            "loss, which averages them away",
            given=f"importance_sampling_level={setup.settings.get('importance_sampling_level', 'token')}",
            hint="loss=grpo importance_sampling_level=token",
        )
    with plugin_boundary("component", name, part):
        part.check(setup)


def _check_erasure(name: str, setup: Setup) -> None:
    """Refuse what samples completions otherwise than in whole groups by an engine of rlllm."""
    against = {
        "off_policy": setup.off_policy and "demonstrations stand in the groups",
        "use_vllm": setup.settings.get("use_vllm") and "vLLM gives no entropies over the whole vocabulary",
    }
    for given, reason in against.items():
        if reason:
            raise ConfigError(f"{name} samples in segments and judges them by group: {reason}", given=given)


def _check_dialogue(name: str, setup: Setup) -> None:
    """Refuse what reads the task's own prompt where a group completes another one, and what samples outside of rlllm."""
    sampler = setup.sampler or Sampler()
    own_prompt = [signal.name for signal in setup.signals.values() if signal.cost in ("pass", "rollout")]
    against = {
        "off_policy": setup.off_policy and "demonstrations answer the problem, and not what a role was asked",
        "erase": setup.erase is not None and "what a role says is sampled whole",
        "reflect": setup.reflect is not None and "what a role says is not answered again",
        "sampler": type(sampler).show is not Sampler.show and "the sampler shows the problem in words of its own",
        "use_vllm": setup.settings.get("use_vllm") and "dialogues are sampled by an engine of rlllm",
        ", ".join(own_prompt): bool(own_prompt) and "a component reads more of the problem than the group completes",
    }
    for given, reason in against.items():
        if reason:
            raise ConfigError(
                f"{name} has each group complete what one role was asked: {reason}", given=given, hint="leave out one"
            )


def _check_reflection(name: str, setup: Setup) -> None:
    """Refuse what does not sample two answers, or compares the second with one that was not asked for again."""
    single = [signal.name for signal in setup.signals.values() if signal.cost == "rollout"]
    against = {
        "off_policy": setup.off_policy and "demonstrations are single answers",
        "erase": setup.erase is not None and "segments are counted from the beginning of one answer",
        "use_vllm": setup.settings.get("use_vllm") and "second answers are sampled by an engine of rlllm",
        ", ".join(single): bool(single) and "a component compares with a single answer",
    }
    for given, reason in against.items():
        if reason:
            raise ConfigError(f"{name} has the policy answer twice: {reason}", given=given, hint="leave out one")


def _check_signals(signals: Mapping[str, Signal], settings: Mapping[str, Any]) -> None:
    if "ref_logps" in signals and not settings.get("beta"):
        raise ConfigError(
            "a component compares with the reference model, and this run has none",
            given=f"beta={settings.get('beta', 0.0)}",
            hint="set beta above 0, with kl.where=nowhere so that it adds no KL term",
        )


def _check_engine_settings(engine: str, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings of sampling that the engine does not read."""
    if settings.get("use_vllm") and engine != "hf":
        raise ConfigError(
            "TRL's own use of vLLM belongs to the engine hf",
            given=f"rollout.engine={engine} use_vllm=true",
            hint=f"{_in_place_of_trl(settings)}; or TRL's own way: rollout.engine=hf use_vllm=true",
        )
    fields = trl_fields.table("GRPOConfig")
    unread = [name for name in _GENERATE_ONLY if name in settings and settings[name] != fields[name]["default"]]
    if unread and engine != "hf":
        raise ConfigError(
            f"the engine {engine} does not read {', '.join(unread)}",
            given=", ".join(f"{name}={settings[name]}" for name in unread),
            hint="rollout.engine=hf, or leave it out",
        )


def _check_trl_vllm(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError where TRL would refuse its own use of vLLM once the model is loaded."""
    if find_spec("vllm") is None:
        raise ConfigError(
            "TRL's own use of vLLM needs vLLM in the environment that trains, also where a server samples",
            given="use_vllm=true",
            hint=f"pip install vllm, or {_in_place_of_trl(settings)}",
        )
    if not has_gpu():
        raise ConfigError(
            "TRL's own use of vLLM needs a GPU: it cannot bring weights to vLLM's build for processors",
            given="use_vllm=true",
            hint=_in_place_of_trl(settings),
        )


def _in_place_of_trl(settings: Mapping[str, Any]) -> str:
    """What to type for TRL's settings of vLLM."""
    if settings.get("vllm_mode") != "server":
        return "rollout.engine=vllm in place of use_vllm=true"
    host, port = settings.get("vllm_server_host", "localhost"), settings.get("vllm_server_port", 8000)
    url = settings.get("vllm_server_base_url") or f"http://{host}:{port}"
    return f"rollout.engine=vllm-server rollout.servers={url} in place of use_vllm=true vllm_mode=server"


def _check_words(settings: Mapping[str, Any]) -> None:
    for name, words in WORDS.items():
        if name in settings and settings[name] not in words:
            raise unknown(name, str(settings[name]), words)


def _with_beta(advantage: SlotSpec, settings: Mapping[str, Any]) -> SlotSpec:
    """An advantage with a beta of its own (DPO's) takes TRL's, which is the one users give; its own field goes first."""
    if not takes("advantage", advantage, "beta"):
        return advantage
    return advantage.model_copy(update={"params": {"beta": settings.get("beta", 0.0), **advantage.params}})


def _filter_reward(name: str, sampler: Sampler, rewards: Composition) -> str | None:
    """Name of the reward by which a sampler judges groups: the given one, or the first that verifies. None if it judges none.

    Raises:
        ConfigError: no reward of this run has the given name; or none is given, and no reward trains.
    """
    if not sampler.judges_groups:
        return None
    if sampler.reward and sampler.reward not in rewards.names:
        near = closest(sampler.reward, rewards.names)
        raise ConfigError(
            f"sampler={name} judges groups by a reward that this run does not have",
            given=f"sampler.reward={sampler.reward}",
            exists=rewards.names,
            hint=f"did you mean {near}?" if near else "name one of the rewards, or leave it out",
        )
    if not sampler.reward and rewards.group_filter is None:
        raise ConfigError(
            f"sampler={name} judges groups by a reward, and none trains here",
            given=", ".join(f"{reward} x 0" for reward in rewards.names),
            hint=f"sampler={{name: {name}, reward: {rewards.names[0]}}}, which chooses groups by it",
        )
    return sampler.reward or rewards.group_filter


def critic_source(config: RLSettings, policy: ModelSource) -> ModelSource:
    """The model whose weights the critic starts from.

    Raises:
        ConfigError: it starts from a reward model, and no single one is among the rewards.
        ModelError: the model it names does not exist.
    """
    if config.critic.init == "policy":
        return policy.loaded_as(LoadingConfig())  # all of its weights are trained, in float32
    if config.critic.init != "reward":
        return resolve_model(config.critic.init)
    models = [spec for spec in named_models(config.rewards) if spec.name == "model" and "path" in spec.params]
    if not models:
        raise ConfigError(
            "critic.init=reward needs a reward model among the rewards", hint="--reward RUN, or critic.init=policy"
        )
    return resolve_model(str(models[0].params["path"]))


def _refuse_critic(config: RLSettings, advantage: str) -> None:
    """A critic's settings without a critic would be read by nothing."""
    unread = sorted(config.critic.model_fields_set - {"share_backbone"})
    if unread:
        raise ConfigError(
            f"advantage={advantage} has no critic",
            given=", ".join(f"critic.{name}" for name in unread),
            hint="leave it out, or take a critic: --method ppo",
        )


def _check_critic(config: RLSettings, settings: Mapping[str, Any]) -> None:
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


def _check_kl(config: RLSettings, name: str, advantage: Advantage, settings: Mapping[str, Any]) -> None:
    if config.kl.where == "reward" and not advantage.reads_kl_penalty:
        raise ConfigError(
            f"advantage={name} does not see a KL penalty in the reward",
            given="kl.where=reward",
            hint="kl.where=loss, or an advantage that does: rloo, gae",
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
    if config.critic.share_backbone:
        refuse_several_processes("critics on the policy's backbone", config.launch)
    if config.critic.share_backbone and config.lora is None:
        raise ConfigError("one backbone for all is shared through adapters", hint="add lora.r=16")
