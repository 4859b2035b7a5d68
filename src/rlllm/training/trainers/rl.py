"""Methods that learn from their own samples: builds the six-slot loop from a plan, and reads what it observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.components import Components
from rlllm.core.errors import ConfigError
from rlllm.core.runs import Run, append_jsonl
from rlllm.core.verdict import alarm_text
from rlllm.rewards.binding import display_names
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.registry import ENGINES
from rlllm.training import environment_runs
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job, Parts, load_causal_model, train
from rlllm.training.plan import Plan, named_models
from rlllm.training.rl_settings import LoopSettings, critic_source
from rlllm.training.truncation import note_beyond_context

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured

Measure = Callable[[Job, Any], "list[Measured]"]


def run(plan: Plan, *, measure: Measure = measure_alignment, **options: Any) -> Run:
    """Run a plan of the family `loop`.

    Args:
        plan: with rewards, slots and batches.
        measure: what to measure before and after; by default what alignment is judged by.
        options: those of `training.flow.run_to_verdict`.
    """
    return train(plan, parts(measure), **options)


def parts(measure: Measure) -> Parts:
    """The loop's parts of the training flow with a measure of the stage's own."""
    return Parts(load_causal_model, build, measure, observe=_observe)


def sampling(job: Job) -> SamplingConfig:
    """The rollout's settings as an evaluation takes them: what is measured is sampled as what is trained on."""
    config = job.config
    assert isinstance(config, LoopSettings)
    return config.rollout.sampling


def build(job: Job, callbacks: list[Any]) -> Any:
    """The loop of a plan; `Parts.build` of every verb that runs it."""
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.kl_controller import KLController
    from rlllm.algorithms.trainer import RLTrainer, Slots

    config = job.config
    assert isinstance(config, LoopSettings)
    assert job.plan.rewards is not None
    components = Components.of(job.plan.slots)
    by_slot: dict[str, Any] = dict(components.by_slot)
    slots = Slots(
        rewards=job.plan.rewards,
        engine=None if config.rollout.engine == "hf" else ENGINES.load(config.rollout.engine),
        kl=KLController(
            config.kl.where, float(job.plan.settings.get("beta", 0.0)), config.kl.target, config.kl.horizon
        ),
        **by_slot,
    )
    args = _arguments(job)
    note_beyond_context(job, args.max_completion_length)
    with_critic = "values" in components.signals
    loop = RLTrainer(
        slots=slots,
        tasks=job.plan.loaded.train,
        on_rollout=recorder(job),
        critic=_critic(job, args) if with_critic and not config.critic.share_backbone else None,
        model=job.model,
        args=args,
        train_dataset=to_trl_dataset.tasks(job.plan.loaded.train, job.tokenizer),
        processing_class=job.tokenizer,
        peft_config=job.adapters(),
        callbacks=[*callbacks, *_budget(job)],
        onednn=job.hardware.onednn,
        **environment_runs.arguments(job),
    )
    if config.critic.share_backbone:
        _share(loop, job, with_critic)
    loop.recall(job.run.samples())
    _say_how_it_decodes(job, loop)
    return loop


def recorder(job: Job) -> Callable[[list[dict[str, Any]]], None]:
    """Writes a rollout's rows, and monitors the rewards of weight 0; what an earlier start has written counts."""
    from rlllm.evals.monitors.monitored_rewards import RewardMonitor

    assert job.plan.rewards is not None
    monitor = RewardMonitor(job.plan.rewards.monitored, job.diagnostics.alarms)
    monitor.add(job.run.samples())

    def record(batch: list[dict[str, Any]]) -> None:
        append_jsonl(job.run.path / "samples.jsonl", batch)
        for alarm in monitor.add(batch):
            job.listener.note(f"warning: {alarm_text(alarm)}")

    return record


def _say_how_it_decodes(job: Job, loop: Any) -> None:
    """An engine that has slower ways for some models names the one it takes, and why."""
    config = job.config
    assert isinstance(config, LoopSettings)
    if loop.slots.engine is None:
        return
    engine = loop.slots.engine(loop.model, job.tokenizer)
    if getattr(engine, "reason", ""):
        job.listener.note(f"engine {config.rollout.engine} decodes by {engine.tier}: {engine.reason}")


def _budget(job: Job) -> list[Any]:
    from rlllm.algorithms.callbacks import TokenBudget

    config, batches = job.config, job.plan.batches
    assert isinstance(config, LoopSettings)
    assert batches is not None
    return [TokenBudget(job.diagnostics, config.max_tokens, batches.steps_per_rollout)] if config.max_tokens else []


def _share(loop: Any, job: Job, with_critic: bool) -> None:
    """Put critic and reward models on the policy's backbone. A reward model without an adapter of this base stays its own."""
    from rlllm.algorithms.ppo import shared_backbone
    from rlllm.algorithms.ppo.critic import Critic
    from rlllm.rewards.models.reward_model import RewardModel

    config, base = job.config, job.plan.source.path
    assert isinstance(config, LoopSettings)
    folders = {name: shared_backbone.adapter_of(Path(path), base) for name, path in _model_rewards(job).items()}
    scorers = {}
    for name, folder in folders.items():
        if folder is None:
            job.listener.note(f"reward {name} keeps a backbone of its own: it has no adapter trained on {base}")
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


def _model_rewards(job: Job) -> dict[str, str]:
    """Display name -> folder of every reward that is a reward model."""
    config = job.config
    assert isinstance(config, LoopSettings)
    specs = named_models(config.rewards)
    named = zip(display_names(specs), specs, strict=True)
    return {name: str(spec.params["path"]) for name, spec in named if spec.name == "model" and "path" in spec.params}


def _critic_settings(config: LoopSettings) -> dict[str, Any]:
    return config.critic.model_dump(include={"learning_rate", "clip", "warmup_steps"})


def _arguments(job: Job) -> Any:
    """TRL's config. It refuses groups of one, which its loop can run: the number is put in after the check."""
    batches = job.plan.batches
    assert batches is not None
    if batches.group_size > 1:
        return job.arguments("GRPOConfig")
    whole = {**job.plan.settings, "num_generations": batches.completions_per_rollout}
    args = replace(job, plan=replace(job.plan, settings=whole)).arguments("GRPOConfig")
    args.num_generations = 1
    return args


def _critic(job: Job, args: Any) -> Any:
    import torch

    from rlllm.algorithms.ppo.critic import Critic
    from rlllm.policies.loading import load_classifier, load_tokenizer

    config = job.config
    assert isinstance(config, LoopSettings)
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


def _observe(job: Job, trainer: Any) -> None:
    from rlllm.evals.monitors.gain_decomposition import decompose_gains
    from rlllm.evals.monitors.overoptimization import divergences

    diagnostics, rewards = job.diagnostics, trainer.slots.rewards
    diagnostics.reward_rows = trainer.reward_rows
    diagnostics.reward_undefined = trainer.reward_undefined
    diagnostics.reward_spread = trainer.reward_spread
    diagnostics.reward_faults = rewards.faults()
    rows = list(job.run.samples())
    diagnostics.divergences = divergences(rows, rewards.monitored)
    diagnostics.gain_decomposition = decompose_gains(rows, rewards.monitored, seed=job.config.seed)
