"""Environments in settings and plans: which tools the model may call, checked before a model is loaded."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rlllm.core.argument_types import converted
from rlllm.core.config import PartSpec
from rlllm.core.errors import ConfigError, describe
from rlllm.core.records import PromptTask, Sample
from rlllm.data.load import Loaded
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.environments.base import checked, factory, refuse_other_tools, rehearse, tools_of, with_tools
from rlllm.rollouts.registry import ENVIRONMENTS

if TYPE_CHECKING:
    from rlllm.rollouts.environments.multi_turn import MultiTurnSampler

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

    @property
    def identity(self) -> dict[str, Any]:
        """What a rollout depends on beside the model, the sampling and the row: arguments, rounds, and the module's source."""
        module = inspect.getmodule(self.kind)
        source = inspect.getsource(module) if module else ""
        return {"name": self.name, "rounds": self.rounds, "params": dict(self.params), "source": source}

    def check(self, tasks: Sequence[PromptTask]) -> None:
        """Begin on the first row and ask for the reward, so that what is missing is known before a model is loaded.

        Raises:
            ConfigError: it cannot begin on the row, or its reward fails in a rollout without calls.
            DataError: a row describes a tool that the environment does not have.
        """
        refuse_other_tools(self.kind, self.name, tasks)
        first = self.factory(tasks[:1])()
        first.reset(row=0)
        rehearse(first)

    def draw(
        self, model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int
    ) -> list[list[Sample]]:
        """`samples` rollouts of every task by a policy; the outer list follows `tasks`.

        Raises:
            ConfigError: as `sampler`.
        """
        return self.sampler(model, tokenizer, tasks, sampling).draw(tasks, samples=samples)

    def sampler(
        self, model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig
    ) -> MultiTurnSampler:
        """What samples rollouts of a policy.

        Raises:
            ConfigError: the model's template shows no tool calls, or its way of writing them is unknown.
        """
        from rlllm.policies.loading import context_length
        from rlllm.rollouts.engines.loading import open_engine
        from rlllm.rollouts.environments.multi_turn import MultiTurnSampler

        return MultiTurnSampler(
            open_engine(sampling.engine, model, tokenizer, sampling),
            tokenizer,
            self.factory(tasks),
            sampling,
            rounds=self.rounds,
            context=context_length(model),
            chat_template=chat_template(tokenizer, model.config._name_or_path),
        )

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
    kind = ENVIRONMENTS.load(spec.name)
    params = converted(kind, spec.params, f"the environment {spec.name}")
    return PlannedEnvironment(
        spec.name, checked(with_tools(kind, spec.name, params), spec.name, params), spec.rounds, params
    )


def check_reward(environment: PlannedEnvironment | None, reward_names: Sequence[str]) -> None:
    """Raise ConfigError where the reward `environment` is named, and no environment pays one."""
    if REWARD in reward_names and (environment is None or not environment.pays):
        raise ConfigError(
            "the reward environment is what get_reward of an environment returns, and there is none",
            given=f"environment={environment.name}" if environment else "no environment",
            hint="environment=NAME of one that has it (guess, path/to/file.py:Class), or another reward",
        )


def chat_template(tokenizer: Any, model: str) -> str | None:
    """The template to render turns with, where it is not the tokenizer's own; sees to it that calls can be read back.

    Args:
        model: its name, for errors.

    Raises:
        ConfigError: the model's template shows no tool calls, or its way of writing tool calls is unknown.
    """
    from rlllm.algorithms import _trl

    if not _trl.supports_tool_calling(tokenizer):
        raise ConfigError(
            "the model's chat template shows no tool calls", given=model, hint="use a model that has tools"
        )
    try:
        if getattr(tokenizer, "response_template", None) is None:
            _trl.add_response_schema(tokenizer)
            _read_llama_calls(tokenizer)
        if _trl.is_chat_template_prefix_preserving(tokenizer):
            return None
        return _trl.get_training_chat_template(tokenizer)
    except ValueError as error:
        raise ConfigError(
            f"nobody knows how this model writes tool calls: {describe(error)}",
            given=model,
            hint="set response_template in its tokenizer_config.json",
        ) from error


def _read_llama_calls(tokenizer: Any) -> None:
    """Let TRL's response template read the calls of Llama 3 that end in `<|eom_id|>` or begin with `<|python_tag|>`.

    TRL's takes `<|eot_id|>` alone for the end, as its chat template writes it. Llama 3.1 and later models end a call by
    `<|eom_id|>` where they expect its result, and mark calls by `<|python_tag|>` where the built-in tools are on
    (llama.com, "Llama 3.1 prompt format").
    """
    template = copy.deepcopy(getattr(tokenizer, "response_template", None))
    fields = template.get("fields", {}) if isinstance(template, dict) else {}
    if "tool_calls" not in fields or not {"<|eot_id|>", "<|eom_id|>"} <= tokenizer.get_vocab().keys():
        return
    for part in fields.values():
        if "close_pattern" in part:
            part["close_pattern"] = part["close_pattern"].replace(r"<\|eot_id\|>", r"<\|(?:eot|eom)_id\|>")
    calls = fields["tool_calls"]
    if "open_pattern" in calls:
        calls["open_pattern"] = rf"(?:<\|python_tag\|>\s*)?{calls['open_pattern']}"
    tokenizer.response_template = template


def default_rewards(environment: PlannedEnvironment | None, loaded: Loaded) -> list[RewardSpec]:
    """The environment's own reward where neither the recipe nor the data name one, or where the data name what the environment
    pays itself, as those of `verifiers` do; else none."""
    if environment is None or not environment.pays or loaded.rewards not in ((), (environment.name,)):
        return []
    return [RewardSpec(name=REWARD)]
