"""An environment in a run: checked when planned (without torch), handed to the loop, and played again to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rlllm.algorithms.components import component
from rlllm.core.argument_types import converted
from rlllm.core.config import PartSpec
from rlllm.core.errors import ConfigError, describe
from rlllm.core.records import PromptTask, Sample
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.environments.base import TRANSCRIPT, checked, factory, tools_of, transcript_text
from rlllm.rollouts.registry import ENGINES, ENVIRONMENTS

if TYPE_CHECKING:
    from rlllm.data.load import Loaded
    from rlllm.evals.before_after import Measured
    from rlllm.training.flow import Job
    from rlllm.training.plan import Plan

REWARD = "environment"
"""The reward that is the environment's own `get_reward`."""


class EnvironmentSpec(PartSpec):
    """What the model may act on before it answers: `calculator`, or `{name: calculator, rounds: 2}`."""

    noun: ClassVar[str] = "environment"
    name: str
    """A built-in or installed environment, `path/to/file.py:Class`, or `package.module:Class`."""
    rounds: int = Field(4, ge=1)
    """Rounds of tool calls that are answered; a call after the last one is not (TRL: max_tool_calling_iterations)."""


@dataclass(frozen=True)
class PlannedEnvironment:
    """An environment that was found and fits."""

    name: str
    kind: type
    rounds: int
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pays(self) -> bool:
        """Whether it has a reward of its own."""
        return hasattr(self.kind, "get_reward")

    def factory(self, tasks: Sequence[PromptTask]) -> Callable[[], Any]:
        """As `rollouts.environments.base.factory`, for the rows of a data set."""
        return factory(self.kind, self.params, tasks)

    def describe(self) -> str:
        """One line of a plan: name, tools, rounds."""
        tools = "; ".join(map(str, tools_of(self.kind)))
        return f"{self.name} with {tools} ({self.rounds} rounds of calls)"


def chosen(spec: EnvironmentSpec | None) -> PlannedEnvironment | None:
    """The environment of a recipe.

    Raises:
        ConfigError: no such class, one that is no environment, or an argument of the wrong type.
    """
    if spec is None:
        return None
    kind = checked(ENVIRONMENTS.load(spec.name), spec.name, spec.params)
    return PlannedEnvironment(
        spec.name, kind, spec.rounds, converted(kind, spec.params, f"the environment {spec.name}")
    )


def default_rewards(environment: PlannedEnvironment | None, loaded: Loaded) -> list[RewardSpec]:
    """The environment's own reward where neither the recipe nor the data names one; else none."""
    pays = environment is not None and environment.pays
    return [RewardSpec(name=REWARD)] if pays and not loaded.rewards else []


def within(plan: Plan, environment: PlannedEnvironment | None) -> Plan:
    """A plan of the loop with its environment.

    The environment begins on the first row, so that a column it lacks is known before a model is loaded.

    Raises:
        ConfigError: a reward or an advantage that does not go with it, or an environment that cannot begin on the data.
    """
    named = [] if plan.rewards is None else plan.rewards.names
    if REWARD in named and (environment is None or not environment.pays):
        raise ConfigError(
            "the reward environment is what get_reward of an environment returns, and there is none",
            given=f"environment={environment.name}" if environment else "no environment",
            hint="environment=NAME of one that has it (guess, path/to/file.py:Class), or another reward",
        )
    if environment is None:
        return plan
    _check_advantage(plan)
    environment.factory(plan.loaded.train[:1])().reset(row=0)
    settings = {"max_tool_calling_iterations": environment.rounds, **plan.settings}
    rounds = settings["max_tool_calling_iterations"] or environment.rounds
    return replace(plan, settings=settings, environment=replace(environment, rounds=rounds))


def _check_advantage(plan: Plan) -> None:
    if "greedy_rewards" in component("advantage", plan.slots["advantage"]).needs:
        raise ConfigError(
            f"advantage={plan.slots['advantage'].name} compares with a greedy answer of one turn, which no tool has helped",
            hint="an advantage that compares rollouts: group, rloo",
        )


def arguments(job: Job) -> dict[str, Any]:
    """What the loop's trainer is given for an environment; nothing without one."""
    if job.plan.environment is None:
        return {}
    chat_template(job)
    return {"environment_factory": job.plan.environment.factory(job.plan.loaded.train)}


def chat_template(job: Job) -> str | None:
    """The template to render turns with, where it is not the tokenizer's own; sees to it that calls can be read back.

    Raises:
        ConfigError: the model's template shows no tool calls, or nobody knows how to read them.
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


def draw(job: Job, model: Any, tasks: Sequence[PromptTask], *, samples: int) -> list[list[Sample]]:
    """`samples` rollouts of every task in the run's environment, from one seeded stream; the outer list follows `tasks`."""
    import torch

    from rlllm.rollouts.environments.multi_turn import Table
    from rlllm.training.trainers.rl import sampling

    environment, settings = job.plan.environment, sampling(job)
    assert environment is not None
    table = Table(
        ENGINES.load(settings.engine)(model, job.tokenizer),
        job.tokenizer,
        environment.factory(tasks),
        settings,
        rounds=environment.rounds,
        context=getattr(model.config, "max_position_embeddings", None),
        chat_template=chat_template(job),
    )
    torch.manual_seed(job.config.seed)
    return table.draw(tasks, samples=samples)


def measure(job: Job, model: Any) -> list[Measured]:
    """Share of rollouts on held-out prompts that pass (the first reward gives at least 1), and of tool use."""
    from rlllm.evals.before_after import Measured
    from rlllm.evals.reward_values import first_reward

    assert job.plan.rewards is not None
    drawn = draw(job, model, job.plan.measured_on, samples=job.config.eval.samples)
    values = first_reward(job.plan.rewards, drawn)
    passed = Measured(
        "pass@1",
        [[float(value >= 1.0) for value in row] for row in values],
        prompts=[row[0].prompt for row in drawn],
        answers=[row[0].answer for row in drawn],
        completions=[[transcript_text(one.meta[TRANSCRIPT]) for one in row] for row in drawn],
    )
    calls = [[float(_calls(one)) for one in row] for row in drawn]
    return [passed, Measured("tool calls per rollout", calls)]


def _calls(sample: Sample) -> int:
    return sum(turn["role"] == "tool" for turn in sample.meta[TRANSCRIPT])
