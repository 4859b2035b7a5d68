"""`rlllm reason`: reinforcement learning from verifiable rewards, in the six-slot loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.runs import Run
from rlllm.training import controls, environment_runs, reward_cards
from rlllm.training.environment_runs import EnvironmentSpec
from rlllm.training.families import configs_of
from rlllm.training.flow import Job
from rlllm.training.plan import Plan, plan_training
from rlllm.training.rl_settings import LoopSettings, plan_loop
from rlllm.training.trainers import rl

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


class ReasonStage(LoopSettings):
    """Settings of `rlllm reason`. Of its rewards the first decides what passes; by default they are the data source's own."""

    stage: ClassVar[str] = "reason"
    trl_configs: ClassVar[tuple[str, ...]] = configs_of("rl")
    aliases: ClassVar[Mapping[str, str]] = LoopSettings.loop_aliases

    method: str = "grpo"
    """Preset of the slots; see `rlllm methods ls --stage reason`."""
    environment: EnvironmentSpec | None = None
    """Tools that the model may call before it answers: `calculator`, `path/to/file.py:Class`. Default: none."""
    controls: list[str] = Field(default_factory=list)
    """Runs beside this one whose reward makes no sense, to compare with: `random`, `format`, `flipped`, `frozen`."""
    seeds: int = Field(1, ge=1)
    """Seeds to train under, one after another, from `seed` on."""

    @field_validator("controls", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """`random,frozen` as a list, as it is typed."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("controls")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in controls.CONTROLS:
                raise unknown("control", name, controls.CONTROLS)
        if len(set(names)) < len(names):
            raise ConfigError("a control is named twice", given=",".join(names), hint="keep one")
        return names

    def plan(self) -> Plan:
        plan = plan_training(self, self.method)
        environment = environment_runs.chosen(self.environment)
        rewards = self.rewards or environment_runs.default_rewards(environment, plan.loaded)
        planned = environment_runs.within(plan_loop(plan, rewards), environment)
        _check_reward(planned)
        return controls.expand(reward_cards.attach(planned, rewards, required=self.require_card))


def _check_reward(plan: Plan) -> None:
    """Refuse a method whose own reward is not among those that train: it would be another method under this name."""
    method, rewards = plan.method, plan.rewards
    assert rewards is not None
    if method.reward and not dict(zip(rewards.names, rewards.weights, strict=True)).get(method.reward):
        raise ConfigError(
            f"method {method.name} learns from the reward {method.reward}, which does not train here",
            given=", ".join(
                f"{name} x {weight:g}" for name, weight in zip(rewards.names, rewards.weights, strict=True)
            ),
            hint=method.example,
        )


def run(config: ReasonStage, **options: Any) -> Run:
    """Reinforce with verifiable rewards; measures pass@1 on held-out prompts before and after, in the environment if any.

    With `controls` or `seeds` it is several such runs and their comparison. Options are those of
    `training.flow.run_to_verdict`: listener, resume, overwrite, recipe, command.
    """
    plan = config.plan()
    reward_cards.announce(plan, options.get("listener"))
    return (controls if plan.runs else rl).run(plan, measure=_measure, **options)


def _measure(job: Job, model: Any) -> list[Measured]:
    from rlllm.evals.before_after import measure_pass

    assert job.plan.rewards is not None
    held_out = job.plan.measured_on
    if not held_out:
        return []
    if job.plan.environment is not None:
        return environment_runs.measure(job, model)
    return [
        measure_pass(
            model,
            job.tokenizer,
            held_out,
            job.plan.rewards,
            rl.sampling(job),
            samples=job.config.eval.samples,
            seed=job.config.seed,
        )
    ]
