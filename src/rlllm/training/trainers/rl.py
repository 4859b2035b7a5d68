"""Reinforcement learning: the model samples completions, and learns from their rewards through the method's slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field, field_validator

from rlllm.algorithms.components import Components, component
from rlllm.algorithms.protocols import Advantage
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import PromptTask, images_of, task_of
from rlllm.core.verdict import alarm_text
from rlllm.launch import process_group
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.binding import display_names
from rlllm.rewards.composition import Composition
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.engines.loading import open_engine
from rlllm.training import dialogues, environment_runs, start_values
from rlllm.training.before_after import ground_truth_reward, measure_alignment, measure_reasoning
from rlllm.training.control_rewards import CONTROLS
from rlllm.training.environment import EnvironmentSpec, default_rewards, planned_environment
from rlllm.training.flow import Job, train
from rlllm.training.plan import RLPlan, start_plan
from rlllm.training.reward_cards import with_cards
from rlllm.training.reward_specs import named_models, resolve_rewards
from rlllm.training.rl_plan import critic_source, plan_rl
from rlllm.training.rl_settings import OnlineRolloutConfig, RLSettings
from rlllm.training.settings import SampledHoldoutConfig
from rlllm.training.trainers.base import Trainer
from rlllm.training.truncation import note_beyond_context

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.evals.before_after import Measured


class AlignRLSettings(RLSettings):
    """Settings of `rlllm align` with a method that samples and maximises rewards."""

    stage: ClassVar[str] = "align"

    eval: SampledHoldoutConfig = SampledHoldoutConfig()
    """Measurement before and after."""
    eval_reward: RewardSpec | None = None
    """The reward that measures held-out completions before and after (a name, or `{name: model, path: RUN}`), and is monitored
    in training. Default: the ground-truth utility, for data of the procedural world."""
    rollout: OnlineRolloutConfig = OnlineRolloutConfig(max_new_tokens=256)
    """How completions are sampled, in training and when the model is measured."""


class ControlledSettings(RLSettings):
    """Settings of a verb whose runs are compared with controls, and repeated under several seeds."""

    eval: SampledHoldoutConfig = SampledHoldoutConfig()
    """Measurement before and after."""
    controls: list[str] = Field(default_factory=list)
    """Runs beside this one whose reward makes no sense, to compare with: `random`, `format`, `flipped`, `frozen`; of the
    method `rlp` also `random-thought`, which learns from the gain of another position's thought."""
    seeds: int = Field(1, ge=1)
    """Seeds to train under, one after another, from `seed` on."""

    @field_validator("controls", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """`random,frozen` as a list, as it is typed."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("controls")
    @classmethod
    def _check_controls(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in CONTROLS:
                raise unknown("control", name, CONTROLS)
        if len(set(names)) < len(names):
            raise ConfigError("a control is named twice", given=",".join(names), hint="keep one")
        return names


class ReasonSettings(ControlledSettings):
    """Settings of `rlllm reason`. Of its rewards the first decides what passes; by default they are the data source's own."""

    stage: ClassVar[str] = "reason"

    environment: EnvironmentSpec | None = None
    """Tools that the model may call before it answers: `calculator`, `path/to/file.py:Class`. Default: none."""


def _plan(config: ReasonSettings | AlignRLSettings, method: Method, trainer: Trainer[Any, Any]) -> RLPlan[Any]:
    if isinstance(config, ReasonSettings):
        return _plan_reason(config, method, trainer)
    return _plan_align(config, method, trainer)


def _plan_reason(config: ReasonSettings, method: Method, trainer: Trainer[Any, Any]) -> RLPlan[ReasonSettings]:
    start = start_plan(config, method, trainer)
    environment = planned_environment(config.environment)
    rewards = config.rewards or default_rewards(environment, start.loaded)
    plan = environment_runs.within(plan_rl(start, rewards), environment)
    check_own_reward(plan)
    return with_cards(plan, rewards)


def check_own_reward(plan: RLPlan[Any]) -> None:
    """Refuse a method whose own reward is not among those that train: it would be another method under this name."""
    method, weights = plan.method, dict(zip(plan.rewards.names, plan.rewards.weights, strict=True))
    if method.reward and not weights.get(method.reward):
        raise ConfigError(
            f"method {method.name} learns from the reward {method.reward}, which does not train here",
            given=", ".join(f"{name} x {weight:g}" for name, weight in weights.items()),
            hint=method.example,
        )


def _plan_align(config: AlignRLSettings, method: Method, trainer: Trainer[Any, Any]) -> RLPlan[AlignRLSettings]:
    start = start_plan(config, method, trainer)
    if not config.rewards:
        raise ConfigError(
            f"method {method.name} maximises a reward, and none is named",
            hint="--reward RUN (a reward model), or a name from: rlllm rewards ls",
        )
    eval_reward = config.eval_reward or ground_truth_reward(start.loaded)
    plan = plan_rl(start, _with_monitored(config.rewards, eval_reward))
    if "dialogue" in plan.slots:
        raise ConfigError(
            "the answers of a dialogue are right or wrong, which the rewards of align do not say",
            given=f"dialogue={plan.slots['dialogue'].name}",
            hint="rlllm reason, with a reward that verifies",
        )
    if eval_reward is not None:
        measuring = resolve_rewards([eval_reward], start.loaded, sandbox=config.sandbox)
        plan = replace(plan, eval_reward=measuring)
    return with_cards(plan, config.rewards)


def _with_monitored(rewards: Sequence[RewardSpec], eval_reward: RewardSpec | None) -> list[RewardSpec]:
    """The rewards, and the eval reward beside them with weight 0 unless it is one of them."""
    named = eval_reward is None or any(
        reward.name == eval_reward.name and reward.params == eval_reward.params for reward in rewards
    )
    return list(rewards) if eval_reward is None or named else [*rewards, eval_reward.model_copy(update={"weight": 0.0})]


def _measure(job: Job[RLPlan[Any]], model: Any) -> list[Measured]:
    reasons = isinstance(job.plan.config, ReasonSettings)
    return measure_reasoning(job, model) if reasons else measure_alignment(job, model)


def build(job: Job[RLPlan[Any]], callbacks: list[Any]) -> Any:
    """`Trainer.build`: the RL trainer of a plan."""
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.entropy_target import EntropyTarget
    from rlllm.algorithms.kl_controller import KLController
    from rlllm.algorithms.rl_trainer import RLTrainer, Slots

    config = job.plan.config
    components = Components.of(job.plan.slots)
    by_slot: dict[str, Any] = dict(components.by_slot)
    by_trl = config.rollout.engine == "hf" and not {"erase", "dialogue", "reflect"} & by_slot.keys()
    slots = Slots(
        rewards=job.plan.rewards,
        engine=None if by_trl else partial(open_engine, config.rollout.engine, settings=config.rollout),
        kl=KLController(
            config.kl.where, float(job.plan.settings.get("beta", 0.0)), config.kl.target, config.kl.horizon
        ),
        correction=config.rollout_correction.correction,
        staleness=config.rollout.staleness,
        entropy_target=EntropyTarget() if job.plan.entropy_target_is_measured else None,
        **by_slot,
    )
    args = _arguments(job)
    if slots.entropy_target is not None:
        args.entropy_target = None  # until the first rollout; what stands in for it would be recorded as used
    note_beyond_context(job, args.max_completion_length)
    with_critic = "values" in components.signals
    with _start_on_disk(job):
        loop = RLTrainer(
            slots=slots,
            tasks=job.plan.loaded.train,
            on_rollout=recorder(job),
            critic=_critic(job, args) if with_critic and not config.critic.share_backbone else None,
            model=job.model,
            args=args,
            train_dataset=to_trl_dataset.tasks(job.plan.loaded.train, job.tokenizer),
            processing_class=job.processing_class,
            peft_config=job.adapters(),
            callbacks=[*callbacks, *_budget(job)],
            onednn=job.hardware.matmul == "onednn",
            serving=config.rollout.serving,
            **environment_runs.arguments(job),
        )
    if config.critic.share_backbone:
        _share(loop, job, with_critic)
    start_values.give(job, loop)
    loop.recall(job.run.samples())
    _say_how_it_decodes(job, loop)
    if job.plan.equals:
        job.progress.note(f"{job.plan.method.name} {job.plan.equals}")
    return loop


@contextmanager
def _start_on_disk(job: Job[RLPlan[Any]]) -> Iterator[None]:
    """A folder from which TRL loads its reference, where the model's name does not lead to it: no folder holds an adapter and
    its base, and TRL reads the default revision of a Hub id."""
    by_name = job.plan.source.base is None and job.plan.source.revision is None
    if by_name or job.plan.config.lora or not job.plan.setting("beta"):
        yield
        return
    name = job.model.config.name_or_path
    with TemporaryDirectory(dir=job.run.path if job.run.writes else None) as folder:
        job.model.save_pretrained(folder)
        job.model.config.name_or_path = folder
        yield
        job.model.config.name_or_path = name


def recorder(job: Job[RLPlan[Any]]) -> Callable[[list[dict[str, Any]]], None]:
    """Writes a rollout's rows, and monitors the rewards of weight 0; what an earlier start has written counts."""
    from rlllm.evals.monitors.monitored_rewards import RewardMonitor

    monitor = RewardMonitor(_expected_to_follow(job.plan), job.diagnostics.alarms)
    monitor.add(job.run.samples())

    def record(batch: list[dict[str, Any]]) -> None:
        job.run.append("samples.jsonl", batch)
        job.completions.extend(batch)
        for alarm in monitor.add(batch):
            job.progress.note(f"warning: {alarm_text(alarm)}")

    return record


def _say_how_it_decodes(job: Job[RLPlan[Any]], loop: Any) -> None:
    """An engine that has slower ways for some models names the one it takes, and why."""
    config = job.plan.config
    if loop.slots.engine is None:
        return
    engine = loop.slots.engine(loop.model, job.tokenizer)
    if engine.reason:
        job.progress.note(f"engine {config.rollout.engine} decodes by {engine.tier}: {engine.reason}")


def _budget(job: Job[RLPlan[Any]]) -> list[Any]:
    from rlllm.algorithms.callbacks import TokenBudget

    config, batches = job.plan.config, job.plan.batches
    return [TokenBudget(job.diagnostics, config.max_tokens, batches.steps_per_rollout)] if config.max_tokens else []


def _share(loop: Any, job: Job[RLPlan[Any]], with_critic: bool) -> None:
    """Put critic and reward models on the policy's backbone. A reward model without an adapter of this base stays its own."""
    from rlllm.algorithms.ppo import shared_backbone
    from rlllm.algorithms.ppo.critic import Critic
    from rlllm.rewards.models.reward_model import RewardModel

    config, base = job.plan.config, job.plan.source.path
    folders = {name: shared_backbone.adapter_of(Path(path), base) for name, path in _model_rewards(job).items()}
    scorers = {}
    for name, folder in folders.items():
        if folder is None:
            job.progress.note(f"reward {name} keeps a backbone of its own: it has no adapter trained on {base}")
        else:
            scorer = shared_backbone.AdapterScorer(
                *shared_backbone.stored_adapter(loop.model, f"reward-{name}", folder)
            )
            scorers[name] = RewardModel.of(scorer, job.tokenizer).score_batch
    loop.slots = replace(loop.slots, rewards=loop.slots.rewards.scored_by(scorers))
    if with_critic:
        first = next((folder for folder in folders.values() if folder), None)
        if config.critic.init == "policy":
            parts = shared_backbone.new_adapter(loop.model, "critic", job.adapters())
        elif config.critic.init == "reward" and first is not None:
            parts = shared_backbone.stored_adapter(loop.model, "critic", first)
        else:
            raise ConfigError(
                "on a shared backbone the critic starts from the policy, or from a reward model's adapter",
                given=f"critic.init={config.critic.init}",
                hint="critic.init=policy, or a reward model from: rlllm train-rm lora.r=16 with the same --model",
            )
        loop.critic = Critic(*parts, args=loop.args, **_critic_settings(config))


def _model_rewards(job: Job[RLPlan[Any]]) -> dict[str, str]:
    """Display name -> folder of every reward that is a reward model."""
    config = job.plan.config
    specs = named_models(config.rewards)
    named = zip(display_names(specs), specs, strict=True)
    models = {name: str(spec.params["path"]) for name, spec in named if spec.name == "model" and "path" in spec.params}
    return {name: resolve_model(path, ensembles=True).path for name, path in models.items()}


def _critic_settings(config: RLSettings) -> dict[str, Any]:
    critic = config.critic
    return {"learning_rate": critic.learning_rate, "clip": critic.clip, "warmup_steps": critic.warmup_steps}


def _arguments(job: Job[RLPlan[Any]]) -> Any:
    """TRL's config. It refuses groups of one, which its loop can run: the number is put in after the check."""
    batches = job.plan.batches
    if batches.group_size > 1:
        return job.arguments()
    whole = {**job.plan.settings, "num_generations": batches.completions_per_rollout}
    args = replace(job, plan=replace(job.plan, settings=whole)).arguments()
    args.num_generations = 1
    return args


def _critic(job: Job[RLPlan[Any]], args: Any) -> Any:
    import torch

    from rlllm.algorithms.ppo.critic import Critic
    from rlllm.policies.loading import load_classifier, load_tokenizer

    config = job.plan.config
    source = critic_source(config, job.plan.source)
    if load_tokenizer(source).get_vocab() != job.tokenizer.get_vocab():
        raise ConfigError(
            "the critic reads the policy's tokens, but this model has another tokenizer",
            given=f"critic.init={config.critic.init} ({source.name})",
            hint="critic.init=policy",
        )
    model = load_classifier(source, job.tokenizer)
    if not isinstance(getattr(model, "score", None), torch.nn.Linear):
        raise ConfigError(
            "the critic needs a decoder with a linear head named score",
            given=f"critic.init={config.critic.init} ({type(model).__name__})",
            hint="critic.init=policy" if config.critic.init != "policy" else "a method without a critic: --method rloo",
        )
    if config.critic.init == "policy":
        model.score.weight.data.zero_()  # a random head would start PPO with random advantages
    return Critic(getattr(model, model.base_model_prefix), model.score, args, **_critic_settings(config))


def observe(job: Job[RLPlan[Any]], trainer: Any) -> None:
    """`Trainer.observe`: what the rewards gave, where they failed, and how monitored rewards moved beside the training one."""
    from rlllm.evals.monitors.gain_decomposition import decompose_gains
    from rlllm.evals.monitors.overoptimization import divergences

    diagnostics, rewards = job.diagnostics, trainer.slots.rewards
    diagnostics.truncated_masked = bool(trainer.args.mask_truncated_completions)
    diagnostics.correction = _correction(trainer)
    diagnostics.reward_rows = trainer.reward_rows
    diagnostics.reward_undefined = trainer.reward_undefined
    diagnostics.reward_spread = trainer.reward_spread
    diagnostics.reward_faults = rewards.joined_faults(process_group.of_all(rewards.faults()))
    rows = list(job.run.samples())
    diagnostics.divergences = divergences(rows, _expected_to_follow(job.plan))
    diagnostics.never_paid = _never_paid(rows, rewards)
    diagnostics.gain_decomposition = decompose_gains(rows, rewards.monitored, seed=job.plan.config.seed)


def _correction(trainer: Any) -> str:
    """What is done about a mismatch of sampler and trainer, by rlllm or, where TRL asks vLLM itself, by TRL."""
    if trainer.slots.correction is not None:
        return str(trainer.slots.correction.describe())
    by_trl = trainer.use_vllm and trainer.vllm_importance_sampling_correction
    return f"vllm_importance_sampling_mode={trainer.vllm_importance_sampling_mode}" if by_trl else ""


def _expected_to_follow(plan: RLPlan[Any]) -> list[str]:
    """The monitored rewards whose fall beside a rising training reward is an alarm: all but the costs of the advantage."""
    advantage = cast(Advantage, component("advantage", plan.slots["advantage"]))
    return [name for name in plan.rewards.monitored if name not in advantage.costs]


def _never_paid(rows: Sequence[Mapping[str, Any]], rewards: Composition) -> list[dict[str, Any]]:
    """Rewards with a weight that were 0 or undefined in every row of `samples.jsonl`, beside others that were not.

    A reward whose class says `penalty` is at its best with 0, and only being undefined is remarkable.
    """
    weighted = [reward for reward in rewards.rewards if reward.weight]
    findings = []
    for reward in weighted:
        values = [row["rewards"][reward.name]["value"] for row in rows]
        undefined = values.count(None)
        fine = any(values) or (undefined < len(values) and getattr(reward.target, "penalty", False))
        if not fine:
            findings.append({"reward": reward.name, "seen": len(values), "undefined": undefined})
    return findings if len(findings) < len(weighted) else []


_ONE_ROW = {
    "per_device_train_batch_size": 2,
    "num_generations": 2,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": None,
    "generation_batch_size": None,
    "beta": 0.0,
}
"""Settings under which TRL's GRPOTrainer takes a data set of one row, and loads no reference model."""


def prompt_tokens(job: Job[Any], record: Any) -> list[int]:
    """`Trainer.prompt_tokens`: the ids that TRL's GRPOTrainer samples from."""
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.tokenized_preview import prompt_ids
    from rlllm.policies.chat import encode_prompts, template_arguments

    if images_of(record.prompt):  # TRL has its processor encode them, as `encode_prompts` does
        return list(encode_prompts(job.tokenizer, [record.prompt], [record.meta])[0])
    plan = replace(job.plan, settings={**job.plan.settings, **_ONE_ROW})
    args = replace(job, plan=plan).arguments()
    rows = to_trl_dataset.tasks([task_of(record)], job.tokenizer)
    return prompt_ids(args, job.tokenizer, rows, template_arguments(record.meta))


TRAINER = Trainer(
    name="rl",
    record=PromptTask,
    settings={"reason": ReasonSettings, "align": AlignRLSettings},
    plan=_plan,
    run=train,
    build=build,
    measure=_measure,
    observe=observe,
    keep=dialogues.keep,
    prompt_tokens=prompt_tokens,
    size_defaults="loop",
    reads_images=True,
)
