"""The environment protocol: how a class is checked to be one, and how its rollouts become samples. Imports no torch.

The protocol is that of TRL's `environment_factory`: `reset(**row)` begins a rollout, public methods are tools, and
`get_reward()`, if there is one, returns the reward of the rollout. One object serves one rollout at a time and is used again.
Here `get_reward` may ask for the transcript, and a class whose tools follow from its arguments makes itself one for them
(`with_tools`).
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlllm.core.errors import ConfigError, DataError, RlllmError, closest, describe
from rlllm.core.plugin_errors import plugin_boundary, plugin_place
from rlllm.core.records import PromptTask, Sample
from rlllm.core.records import tools_of as described_tools

TRANSCRIPT = "transcript"
"""Column of a sample with all messages of the rollout: the model's turns, its calls, and what the tools said."""
_REWARD_COLUMN = "environment_reward"
"""Column of a sample with what the environment's `get_reward` returned."""
_FAILED_COLUMN = "environment_error"
"""Column of a sample in its place where `get_reward` raised or returned no number."""
STORED = ("level", TRANSCRIPT, _REWARD_COLUMN, _FAILED_COLUMN)
"""Columns of a sample that its row of `samples.jsonl` holds; the others are those of its row of the data."""
_METHODS = ("reset", "get_reward")
_NEARLY = 0.85
"""Similarity from which a tool's name is taken for a misspelt method of an environment."""


class Environment(Protocol):
    """What users write: a class whose constructor takes the arguments of the recipe. It need not inherit from this one.

    Every public method other than `reset` and `get_reward` is a tool. It needs a type hint for each argument, and a docstring
    with a line for each under `Args:`, because models learn of a tool by these; it returns text, or what `str` makes text. It
    may be `async`. An exception that it raises is shown to the model as its result, and ends nothing.
    """

    def reset(self, **row: Any) -> str | None:
        """Begin a rollout on a row of the data.

        Args:
            row: the columns of the row, with `prompt` and `answer`.

        Returns:
            Text that is appended to the prompt's last message; None for nothing.
        """


@dataclass(frozen=True, slots=True)
class Tool:
    """A method that the model may call."""

    name: str
    signature: str
    """The arguments with their types, in brackets."""
    summary: str

    def __str__(self) -> str:
        return f"{self.name}{self.signature}"


def tools_of(kind: type) -> tuple[Tool, ...]:
    """The tools of an environment class, by name.

    Raises:
        ConfigError: a tool without docstring, with a parameter that has no type hint or no line under `Args:`, or that
            takes `*args` or `**kwargs`; models learn of a tool by these.
    """
    methods = inspect.getmembers(kind, inspect.isfunction)
    return tuple(
        _tool(kind, name, method) for name, method in methods if name not in _METHODS and not name.startswith("_")
    )


def with_tools(kind: Any, name: str, params: Mapping[str, Any]) -> Any:
    """The class for these arguments: what its classmethod `with_tools` makes of them, if it has one; else itself.

    Raises:
        ConfigError: it does not take `params`, or its `with_tools` raised.
    """
    make = getattr(kind, "with_tools", None)
    if not inspect.isclass(kind) or not inspect.ismethod(make):
        return kind
    _check_params(kind, name, params)
    with plugin_boundary(
        "environment",
        name,
        kind,
        error_type=ConfigError,
        phrase="cannot tell its tools:",
        given=", ".join(f"{key}={value}" for key, value in params.items()) or None,
        hint="with_tools(cls, ...) takes the fields of environment and returns a class",
    ):
        return make(**params)


def checked(kind: Any, name: str, params: Mapping[str, Any]) -> type:
    """The class behind an environment's name, after a check of its methods and of its arguments.

    Raises:
        ConfigError: it is no class, lacks `reset(self, **row)`, has no tool or an unfit one, a misspelt `get_reward`, or does
            not take `params`.
    """
    if not inspect.isclass(kind):
        raise ConfigError(
            f"{name} is not an environment", given=f"a {type(kind).__name__}", hint="an environment is a class"
        )
    reset = inspect.getattr_static(kind, "reset", None)
    kinds = [p.kind for p in inspect.signature(reset).parameters.values()] if inspect.isfunction(reset) else []
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        raise ConfigError(
            f"{name} does not take a row to begin with", given=kind.__name__, hint="give it: def reset(self, **row)"
        )
    for method in _METHODS:
        tools = [attribute for attribute in vars(kind) if attribute not in _METHODS]
        misspelt = difflib.get_close_matches(method, tools, n=1, cutoff=_NEARLY)
        if misspelt:
            raise ConfigError(
                f"{name} has a tool {misspelt[0]}, which reads like a misspelt {method}",
                given=kind.__name__,
                hint=f"def {method}(self...), or give the tool another name",
            )
    if not tools_of(kind):
        raise ConfigError(f"{name} has no tool", given=kind.__name__, hint="a tool is a public method beside reset")
    _check_params(kind, name, params)
    return kind


def _check_params(kind: type, name: str, params: Mapping[str, Any]) -> None:
    try:
        inspect.signature(kind).bind(**params)
    except TypeError as error:
        existing = [parameter for parameter in inspect.signature(kind).parameters if parameter != "self"]
        unknown = [key for key in params if key not in existing]
        near = [word for key in unknown if (word := closest(key, existing))]
        none = None if existing else "leave them out: it takes none"
        raise ConfigError(
            f"{name} does not take these fields: {error}",
            given=", ".join(f"{key}={value}" for key, value in params.items()) or None,
            exists=existing,
            hint=f"did you mean environment.{near[0]}?" if near else none,
        ) from error


def refuse_other_tools(kind: type, name: str, tasks: Iterable[PromptTask]) -> None:
    """Refuse rows that describe tools (their column `tools`) which the environment does not have: nothing would answer a call.

    The tools in a prompt are those of the environment, as in TRL.

    Raises:
        DataError: a row describes another tool.
    """
    own = [tool.name for tool in tools_of(kind)]
    for number, task in enumerate(tasks, start=1):
        described = [tool.get("function", tool) for tool in described_tools(task.meta)]
        other = next((tool for tool in described if not isinstance(tool, Mapping) or tool.get("name") not in own), None)
        if other is not None:
            tool_name = other.get("name") if isinstance(other, Mapping) else other
            raise DataError(
                f"row {number} describes the tool {tool_name}, and the environment {name} would not answer its calls",
                exists=own,
                hint="an environment with that tool; or data.columns.tools=none, which leaves the column out",
            )


def factory(kind: type, params: Mapping[str, Any], tasks: Sequence[PromptTask]) -> Callable[[], Any]:
    """What makes one environment for each concurrent rollout, in the form TRL takes.

    Its `reset` is given the number of a row (`row=3`) and hands the columns of that task to the class. `get_reward` is hidden
    from TRL, which would add it as one more reward with weight 1; `finished` writes its value where rewards read it.
    """

    def reset(self: Any, *, row: int, **_: Any) -> str | None:
        task = tasks[row]
        columns = {**task.meta, "prompt": task.prompt, "answer": task.answer}
        with plugin_boundary(
            "environment",
            kind.__name__,
            kind,
            error_type=ConfigError,
            phrase="cannot begin on a row:",
            keys=columns,
            given=f"columns {', '.join(['prompt', 'answer', *task.meta])}",
            hint="its reset(self, **row) reads what the data have",
            built_in_too=True,
        ):
            return kind.reset(self, **columns)  # type: ignore[attr-defined]

    methods = {"reset": reset, "get_reward": None, "_environment_reward": getattr(kind, "get_reward", None)}
    wrapped = type(kind.__name__, (kind,), {**methods, "__module__": kind.__module__})

    def make() -> Any:
        with plugin_boundary(
            "environment",
            kind.__name__,
            kind,
            error_type=ConfigError,
            phrase="cannot be made:",
            given=", ".join(f"{name}={value}" for name, value in params.items()) or None,
            hint="its __init__ takes the fields of environment",
            built_in_too=True,
        ):
            return wrapped(**params)

    return make


def rehearse(environment: Any) -> None:
    """Ask an environment for its reward right after `reset`, as in a rollout without a tool call, so that a mistake in
    `get_reward` is known when a run is planned.

    Args:
        environment: made by `factory`, after `reset`.

    Raises:
        ConfigError: it raised an exception, or returned what is neither a number nor None.
    """
    if environment._environment_reward is None:
        return
    kind = type(environment).__base__
    assert kind is not None
    with plugin_boundary(
        "environment",
        kind.__name__,
        kind,
        error_type=ConfigError,
        phrase="has no reward of a rollout without tool calls:",
        hint="get_reward(self), or get_reward(self, transcript), returns a number, or None where it cannot be judged",
        built_in_too=True,
    ):
        _reward_of(environment, [])


def finished(
    task: PromptTask, messages: Sequence[Mapping[str, Any]], environment: Any, tokens: int | None, truncated: bool
) -> Sample:
    """A rollout as rewards get it. Its completion is the model's own text of all turns, without the results of tools, so that
    these cannot pass for an answer. The whole transcript and the environment's reward are columns.

    Args:
        messages: turns after the prompt, in TRL's form (`role`, `content`, `tool_calls`).
        environment: made by `factory`.
        tokens: length of all turns with the tools' results; None where no model played.
    """
    texts = [str(turn.get("content") or "") for turn in messages if turn.get("role") == "assistant"]
    transcript = [dict(turn) for turn in messages]
    columns = {**task.meta, TRANSCRIPT: transcript, **_reward_columns(environment, transcript)}
    return Sample(task.prompt, "\n".join(text for text in texts if text), task.answer, columns, tokens, truncated)


def transcript_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """A transcript on lines a person reads: words as they are, calls as `name(key=value)`, results behind `->`."""
    lines: list[str] = []
    for turn in messages:
        if turn.get("role") == "tool":
            lines.append(f"-> {turn['content']}")
            continue
        lines += [turn["content"]] if turn.get("content") else []
        for call in turn.get("tool_calls") or []:
            function = call.get("function", call)
            arguments = function["arguments"]
            if isinstance(arguments, Mapping):
                arguments = ", ".join(f"{key}={value}" for key, value in arguments.items())
            lines.append(f"{function['name']}({arguments})")
    return "\n".join(lines)


def tool_calls(sample: Sample) -> int:
    """Tool calls of a rollout in an environment that were answered."""
    return sum(turn["role"] == "tool" for turn in sample.meta[TRANSCRIPT])


def settled(result: Any) -> Any:
    """A method's result; awaited if the method is async."""
    if not inspect.isawaitable(result):
        return result
    import asyncio

    async def wait() -> Any:
        return await result

    return asyncio.run(wait())


def _reward_columns(environment: Any, transcript: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The column with the environment's reward, or with the reason why it has none; neither for one without `get_reward`."""
    if getattr(environment, "_environment_reward", None) is None:
        return {}
    try:
        return {_REWARD_COLUMN: _reward_of(environment, transcript)}
    except RlllmError:
        raise
    except Exception as error:
        place = plugin_place(error, type(environment).__base__)
        return {_FAILED_COLUMN: describe(error) + (f" ({place})" if place else "")}


def _reward_of(environment: Any, transcript: Sequence[Mapping[str, Any]]) -> float | None:
    reward = environment._environment_reward
    value = settled(reward(transcript) if inspect.signature(reward).parameters else reward())
    return None if value is None else float(value)


def _tool(kind: type, name: str, method: Callable[..., Any]) -> Tool:
    place, text = f"the tool {name} of {kind.__name__}", inspect.getdoc(method) or ""
    if not text.strip():
        raise ConfigError(f"{place} has no docstring", hint="say in it what the tool does: models read it")
    signature = inspect.signature(method)
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    for parameter in parameters:
        name_of, kind_of = parameter.name, parameter.kind
        if kind_of in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"{place} takes {parameter}", hint="name every argument of a tool")
        if parameter.annotation is parameter.empty:
            raise ConfigError(f"{place} has no type hint for {name_of}", hint=f"{name_of}: str")
        if not re.search(rf"^\s*{name_of}\s*(\(.*\))?\s*:", text.partition("Args:")[2], re.MULTILINE):
            raise ConfigError(
                f"{place} does not describe {name_of}", hint=f"a line under Args: in its docstring, {name_of}: ..."
            )
    return Tool(name, f"({', '.join(map(_argument, parameters))})", text.splitlines()[0])


def _argument(parameter: inspect.Parameter) -> str:
    hint = parameter.annotation
    hint = hint if isinstance(hint, str) else inspect.formatannotation(hint)
    return f"{parameter.name}: {hint}" + ("" if parameter.default is parameter.empty else f" = {parameter.default!r}")
