"""A run with an environment: its plan, the trainer's arguments, and rollouts in it for a measurement."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from rlllm.algorithms.components import component
from rlllm.algorithms.protocols import Sampler
from rlllm.core.errors import ConfigError
from rlllm.rollouts.environments.base import TRANSCRIPT, tool_calls, transcript_text
from rlllm.training.environment import PlannedEnvironment, chat_template, check_reward
from rlllm.training.flow import Job
from rlllm.training.plan import RLPlan

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


def within(plan: RLPlan[Any], environment: PlannedEnvironment | None) -> RLPlan[Any]:
    """The plan with its environment.

    The environment begins on the first row and gives its reward, so that a column it lacks is known before a model is loaded.

    Raises:
        ConfigError: a reward or an advantage that does not go with it, or an environment that cannot begin on the data.
        DataError: a row describes a tool that the environment does not have.
    """
    check_reward(environment, plan.rewards.names)
    if environment is None:
        return plan
    if plan.has_images:
        raise ConfigError("an environment is played with text, and rows have images", hint="leave the environment out")
    _refuse_greedy_baseline(plan)
    _refuse_one_turn_samplers(plan)
    environment.check([*plan.loaded.train, *plan.loaded.holdout])
    settings = {"max_tool_calling_iterations": environment.rounds, **plan.settings}
    rounds = settings["max_tool_calling_iterations"] or environment.rounds
    return replace(plan, settings=settings, environment=replace(environment, rounds=rounds))


def _refuse_greedy_baseline(plan: RLPlan[Any]) -> None:
    if "greedy_rewards" in component("advantage", plan.slots["advantage"]).needs:
        raise ConfigError(
            f"advantage={plan.slots['advantage'].name} compares with a greedy answer of one turn, which no tool has helped",
            hint="an advantage that compares rollouts: group, rloo",
        )


def _refuse_one_turn_samplers(plan: RLPlan[Any]) -> None:
    if "erase" in plan.slots:
        raise ConfigError(
            f"erase={plan.slots['erase'].name} samples one turn in segments, and an environment has several turns",
            hint="leave out one of them",
        )
    if "reflect" in plan.slots:
        raise ConfigError(
            f"reflect={plan.slots['reflect'].name} asks again behind one answer, and an environment has turns of its own",
            hint="leave out one of them",
        )
    if cast(Sampler, component("sampler", plan.slots["sampler"])).start_samples:
        raise ConfigError(
            f"sampler={plan.slots['sampler'].name} measures the start model by single answers, which no tool has helped",
            hint="sampler.column=NAME reads each row's tier from the data; or leave out the environment",
        )
    if "dialogue" in plan.slots:
        raise ConfigError(
            f"dialogue={plan.slots['dialogue'].name} has roles that say one thing each, without tools",
            hint="leave out the dialogue or the environment",
        )


def arguments(job: Job[RLPlan[Any]]) -> dict[str, Any]:
    """What the loop's trainer is given for an environment; nothing without one."""
    if job.plan.environment is None:
        return {}
    chat_template(job.tokenizer, job.plan.source.name)
    return {"environment_factory": job.plan.environment.factory(job.plan.loaded.train)}


def measure(job: Job[RLPlan[Any]], environment: PlannedEnvironment, model: Any) -> list[Measured]:
    """Share of rollouts on held-out prompts that pass (the first reward gives at least 1), and of tool use."""
    import torch

    from rlllm.evals.before_after import Measured
    from rlllm.evals.reward_values import first_reward

    plan, sampling = job.plan, job.plan.config.rollout.sampling
    torch.manual_seed(plan.config.seed)
    groups = environment.draw(model, job.tokenizer, plan.measured_on, sampling, samples=plan.config.eval.samples)
    values = first_reward(plan.rewards, groups)
    passed = Measured(
        "pass@1",
        [[float(value >= 1.0) for value in row] for row in values],
        prompts=[group[0].prompt for group in groups],
        answers=[group[0].answer for group in groups],
        completions=[[transcript_text(sample.meta[TRANSCRIPT]) for sample in group] for group in groups],
    )
    calls = [[float(tool_calls(sample)) for sample in group] for group in groups]
    return [passed, Measured("tool calls per rollout", calls)]
