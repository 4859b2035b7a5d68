"""Environments in settings and plans: which tools the model may call, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field

from rlllm.core.argument_types import converted
from rlllm.core.config import PartSpec
from rlllm.core.records import PromptTask
from rlllm.data.load import Loaded
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.environments.base import checked, factory, tools_of
from rlllm.rollouts.registry import ENVIRONMENTS

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


def planned_environment(spec: EnvironmentSpec | None) -> PlannedEnvironment | None:
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
