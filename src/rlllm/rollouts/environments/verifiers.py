"""The `verifiers` environment: the tasks of a verifiers taskset, with its tools, its state and its rewards."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rlllm.core.errors import ConfigError
from rlllm.data.others.verifiers import TASK, Taskset, judged, on_loop, theirs
from rlllm.rollouts.environments.described_tools import Argument, method

_ARGUMENT_LINE = r"^\s*{name}\s*(?:\(.*\))?\s*:\s*(.+)$"


class Verifiers:
    """A taskset of verifiers, whose tools run in this process. Its rewards are the reward `environment`.

    Args:
        id: the taskset, as its package is installed. Other arguments are fields of its config.
    """

    _taskset: ClassVar[Taskset]

    def __init__(self, id: str, **config: Any) -> None:
        self._task: Mapping[str, Any] = {}
        self._prompt: Any = ""
        self._state = self._taskset.new_state()
        self._calls: dict[str, Callable[..., Any]] = {}

    @classmethod
    def with_tools(cls, id: str, **config: Any) -> type:
        """The class with the tools of a taskset.

        Raises:
            ConfigError: it is not installed, cannot be played here, or has no tools.
        """
        taskset = Taskset.named(id, config)
        with theirs(f"the tools of {id} cannot be told"):
            found = [tool for toolset in _toolsets(taskset) for tool in _tools(toolset)]
        if not found:
            raise ConfigError(
                f"the taskset {id} of verifiers has no tools, so that there is one turn and no environment",
                given=f"environment.id={id}",
                hint=f"leave environment out: --data verifiers:{id} --reward verifiers",
            )
        owner = f"the taskset {id} of verifiers"
        methods = {tool.name: method(tool.name, tool.text, tool.arguments, _caller(tool.name), owner) for tool in found}
        # the taskset's module is whose source decides what a rollout is, and whose lines an error names
        return type(cls.__name__, (cls,), {**methods, "_taskset": taskset, "__module__": type(taskset.its).__module__})

    def reset(self, **row: Any) -> None:
        """Begin on a task, with servers of its own.

        Raises:
            ConfigError: the row is not from a taskset of verifiers, or the taskset's own code raised.
        """
        if TASK not in row:
            raise ConfigError(
                "the row is no task of verifiers",
                given=f"columns {', '.join(row)}",
                hint=f"its own data: --data verifiers:{self._taskset.id}",
            )
        self._task, self._prompt, self._state = row[TASK], row["prompt"], self._taskset.new_state()
        with theirs(f"the tools of {self._taskset.id} do not start"):
            toolsets = _toolsets(self._taskset)
            data = self._taskset.task(self._task).data
            for toolset in toolsets:
                on_loop(_started(toolset, data, self._state))
            self._calls = {tool.name: tool.call for toolset in toolsets for tool in _tools(toolset)}

    def get_reward(self, transcript: Sequence[Mapping[str, Any]]) -> float | None:
        """The weighted sum of the task's rewards; None where it has none.

        Args:
            transcript: the turns after the prompt.
        """
        return on_loop(judged(self._taskset, self._task, self._prompt, transcript, self._state))


@dataclass(frozen=True)
class _Tool:
    """A tool of a toolset, under the name that verifiers' own programs show models."""

    name: str
    text: str
    arguments: list[Argument]
    call: Callable[..., Any]


@dataclass
class _Registrar:
    """What a toolset registers its tools with, in place of an MCP server."""

    prefix: str
    found: list[_Tool] = field(default_factory=list)

    def add_tool(self, call: Callable[..., Any], name: str | None = None, description: str | None = None) -> None:
        bare = name or call.__name__
        text, _, lines = inspect.cleandoc(description or "").partition("Args:")
        full = f"{self.prefix}_{bare}" if self.prefix else bare
        self.found.append(_Tool(full, text.partition("Returns:")[0], _arguments(call, lines), call))


def _toolsets(taskset: Taskset) -> list[Any]:
    """New tool servers of a taskset: those of a task, and those that its tasks share.

    Raises:
        ConfigError: one is a server elsewhere.
    """
    config = taskset.its.config
    made = [*taskset.task_class.toolsets(config.task), *type(taskset.its).toolsets(config)]
    elsewhere = next((url for toolset in made if (url := getattr(toolset.config, "url", None))), None)
    if elsewhere:
        raise ConfigError("tools of verifiers are played in this process, not at a server", given=f"url: {elsewhere}")
    return made


async def _started(toolset: Any, data: Any, state: Any) -> None:
    """A toolset, ready for a task. Its tools see the state of the rollout itself, as they would through verifiers' channel."""

    async def pull() -> Any:
        return state

    toolset._pull_state = pull
    await toolset.setup()
    await toolset.setup_task(data)


def _tools(toolset: Any) -> list[_Tool]:
    registrar = _Registrar(toolset.server_name)
    toolset.register(registrar)
    return registrar.found


def _arguments(call: Callable[..., Any], lines: str) -> list[Argument]:
    """The arguments of a tool, with what its docstring says of them."""
    own = inspect.unwrap(call)
    hints = typing.get_type_hints(own)
    parameters = [parameter for parameter in inspect.signature(own).parameters.values() if parameter.name != "self"]
    return [
        Argument(parameter.name, hints.get(parameter.name, Any), _said(parameter.name, lines), parameter.default)
        for parameter in parameters
    ]


def _said(name: str, lines: str) -> str:
    match = re.search(_ARGUMENT_LINE.format(name=re.escape(name)), lines, re.MULTILINE)
    return match[1] if match else name


def _caller(name: str) -> Callable[[Verifiers, dict[str, Any]], str]:
    """What calls a tool of a rollout."""

    def call(environment: Verifiers, arguments: dict[str, Any]) -> str:
        return _text(on_loop(environment._calls[name](**arguments)))

    return call


def _text(result: Any) -> str:
    """What a model reads of a tool's result: text as it is, anything else as JSON."""
    if isinstance(result, str):
        return result
    plain = result.model_dump(mode="json") if hasattr(result, "model_dump") else result
    return json.dumps(plain, ensure_ascii=False, default=str)
