"""A run with an environment: its plan, the trainer's arguments, and rollouts in it for a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.components import component
from rlllm.core.errors import ConfigError, describe
from rlllm.core.records import PromptTask, Sample
from rlllm.rollouts.environments.base import TRANSCRIPT, rehearse, transcript_text
from rlllm.training.environment import REWARD, PlannedEnvironment
from rlllm.training.flow import Job
from rlllm.training.plan import RLPlan

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


def within(plan: RLPlan[Any], environment: PlannedEnvironment | None) -> RLPlan[Any]:
    """The plan with its environment.

    The environment begins on the first row and gives its reward, so that a column it lacks is known before a model is loaded.

    Raises:
        ConfigError: a reward or an advantage that does not go with it, or an environment that cannot begin on the data.
    """
    if REWARD in plan.rewards.names and (environment is None or not environment.pays):
        raise ConfigError(
            "the reward environment is what get_reward of an environment returns, and there is none",
            given=f"environment={environment.name}" if environment else "no environment",
            hint="environment=NAME of one that has it (guess, path/to/file.py:Class), or another reward",
        )
    if environment is None:
        return plan
    _refuse_greedy_baseline(plan)
    _refuse_erasure(plan)
    first = environment.factory(plan.loaded.train[:1])()
    first.reset(row=0)
    rehearse(first)
    settings = {"max_tool_calling_iterations": environment.rounds, **plan.settings}
    rounds = settings["max_tool_calling_iterations"] or environment.rounds
    return replace(plan, settings=settings, environment=replace(environment, rounds=rounds))


def _refuse_greedy_baseline(plan: RLPlan[Any]) -> None:
    if "greedy_rewards" in component("advantage", plan.slots["advantage"]).needs:
        raise ConfigError(
            f"advantage={plan.slots['advantage'].name} compares with a greedy answer of one turn, which no tool has helped",
            hint="an advantage that compares rollouts: group, rloo",
        )


def _refuse_erasure(plan: RLPlan[Any]) -> None:
    if "erase" in plan.slots:
        raise ConfigError(
            f"erase={plan.slots['erase'].name} samples one turn in segments, and an environment has several turns",
            hint="leave out one of them",
        )


def arguments(job: Job[RLPlan[Any]]) -> dict[str, Any]:
    """What the loop's trainer is given for an environment; nothing without one."""
    if job.plan.environment is None:
        return {}
    chat_template(job)
    return {"environment_factory": job.plan.environment.factory(job.plan.loaded.train)}


def chat_template(job: Job[RLPlan[Any]]) -> str | None:
    """The template to render turns with, where it is not the tokenizer's own; sees to it that calls can be read back.

    Raises:
        ConfigError: the model's template shows no tool calls, or its way of writing tool calls is unknown.
    """
    from rlllm.algorithms import _trl

    tokenizer = job.tokenizer
    if not _trl.supports_tool_calling(tokenizer):
        raise ConfigError(
            "the model's chat template shows no tool calls",
            given=job.plan.source.name,
            hint="use a model that has tools",
        )
    try:
        if getattr(tokenizer, "response_template", None) is None:
            _trl.add_response_schema(tokenizer)
        if _trl.is_chat_template_prefix_preserving(tokenizer):
            return None
        return _trl.get_training_chat_template(tokenizer)
    except ValueError as error:
        raise ConfigError(
            f"nobody knows how this model writes tool calls: {describe(error)}",
            given=job.plan.source.name,
            hint="set response_template in its tokenizer_config.json",
        ) from error


def draw(
    job: Job[RLPlan[Any]],
    environment: PlannedEnvironment,
    model: Any,
    tasks: Sequence[PromptTask],
    *,
    samples: int,
) -> list[list[Sample]]:
    """`samples` rollouts of every task in an environment, from one seeded stream; the outer list follows `tasks`."""
    import torch

    from rlllm.policies.loading import context_length
    from rlllm.rollouts.engines.loading import open_engine
    from rlllm.rollouts.environments.multi_turn import MultiTurnSampler

    settings = job.plan.config.rollout.sampling
    rollouts = MultiTurnSampler(
        open_engine(settings.engine, model, job.tokenizer),
        job.tokenizer,
        environment.factory(tasks),
        settings,
        rounds=environment.rounds,
        context=context_length(model),
        chat_template=chat_template(job),
    )
    torch.manual_seed(job.plan.config.seed)
    return rollouts.draw(tasks, samples=samples)


def measure(job: Job[RLPlan[Any]], environment: PlannedEnvironment, model: Any) -> list[Measured]:
    """Share of rollouts on held-out prompts that pass (the first reward gives at least 1), and of tool use."""
    from rlllm.evals.before_after import Measured
    from rlllm.evals.reward_values import first_reward

    plan = job.plan
    groups = draw(job, environment, model, plan.measured_on, samples=plan.config.eval.samples)
    values = first_reward(plan.rewards, groups)
    passed = Measured(
        "pass@1",
        [[float(value >= 1.0) for value in row] for row in values],
        prompts=[group[0].prompt for group in groups],
        answers=[group[0].answer for group in groups],
        completions=[[transcript_text(sample.meta[TRANSCRIPT]) for sample in group] for group in groups],
    )
    calls = [[float(_tool_calls(sample)) for sample in group] for group in groups]
    return [passed, Measured("tool calls per rollout", calls)]


def _tool_calls(sample: Sample) -> int:
    return sum(turn["role"] == "tool" for turn in sample.meta[TRANSCRIPT])
