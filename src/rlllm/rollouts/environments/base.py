"""What an environment is, how a class is checked to be one, and how its rollouts become samples. Imports no torch.

The protocol is that of TRL's `environment_factory`: `reset(**row)` begins a rollout, public methods are tools, and
`get_reward()`, if there is one, says what the rollout earned. One object serves one rollout at a time and is used again.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlllm.core.errors import ConfigError, RlllmError, closest, describe
from rlllm.core.records import PromptTask, Sample

TRANSCRIPT = "transcript"
"""Column of a sample with all messages of the rollout: the model's turns, its calls, and what the tools said."""
EARNED = "environment_reward"
"""Column of a sample with what the environment's `get_reward` returned."""
FAILED = "environment_error"
"""Column of a sample in its place where `get_reward` raised or returned no number."""
STORED = ("level", TRANSCRIPT, EARNED, FAILED)
"""Columns of a sample that its row of `samples.jsonl` holds; the others are those of its row of the data."""
_OWN = ("reset", "get_reward")


class Environment(Protocol):
    """What users write. Every other public method is a tool: type hints, and a docstring with an `Args:` section."""

    def reset(self, **row: Any) -> str | None:
        """Begin a rollout on a row of the data; what is returned is put behind the prompt's last message.

        Args:
            row: the columns of the row, with `prompt` and `answer`.
        """


@dataclass(frozen=True, slots=True)
class Tool:
    """A method the model may call."""

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
    return tuple(_tool(kind, name, method) for name, method in methods if name not in _OWN and not name.startswith("_"))


def checked(kind: Any, name: str, params: Mapping[str, Any]) -> type:
    """The class behind an environment's name, found fit.

    Raises:
        ConfigError: it is no class, lacks `reset(self, **row)`, has no tool or an unfit one, or does not take `params`.
    """
    if not inspect.isclass(kind):
        raise ConfigError(
            f"{name} is not an environment", given=f"a {type(kind).__name__}", hint="an environment is a class"
        )
    reset = inspect.getattr_static(kind, "reset", None)
    kinds = [one.kind for one in inspect.signature(reset).parameters.values()] if inspect.isfunction(reset) else []
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        raise ConfigError(
            f"{name} does not take a row to begin with", given=kind.__name__, hint="give it: def reset(self, **row)"
        )
    if not tools_of(kind):
        raise ConfigError(f"{name} has no tool", given=kind.__name__, hint="a tool is a public method beside reset")
    try:
        inspect.signature(kind).bind(**params)
    except TypeError as error:
        own = [one for one in inspect.signature(kind).parameters if one != "self"]
        near = [word for one in params if one not in own and (word := closest(one, own))]
        raise ConfigError(
            f"{name} does not take these fields: {error}",
            given=", ".join(f"{one}={value}" for one, value in params.items()) or None,
            exists=own,
            hint=f"did you mean environment.{near[0]}?" if near else None if own else "leave them out: it takes none",
        ) from error
    return kind


def factory(kind: type, params: Mapping[str, Any], tasks: Sequence[PromptTask]) -> Callable[[], Any]:
    """What makes one environment for each concurrent rollout, in the form TRL takes.

    Its `reset` is given the number of a row (`row=3`) and hands the columns of that task to the class. `get_reward` is
    kept from TRL, which would add it as one more reward with weight 1; `finished` puts it where rewards can read it.
    """

    def reset(self: Any, *, row: int, **_: Any) -> str | None:
        task = tasks[row]
        try:
            return kind.reset(self, **{**task.meta, "prompt": task.prompt, "answer": task.answer})  # type: ignore[attr-defined]
        except Exception as error:
            raise ConfigError(
                f"the environment {kind.__name__} cannot begin on a row: {describe(error)}",
                given=f"columns {', '.join(['prompt', 'answer', *task.meta])}",
                hint="its reset(self, **row) reads what the data have",
            ) from error

    own = {"reset": reset, "get_reward": None, "_earned": getattr(kind, "get_reward", None)}
    made = type(kind.__name__, (kind,), {**own, "__module__": kind.__module__})

    def make() -> Any:
        try:
            return made(**params)
        except Exception as error:
            raise ConfigError(
                f"the environment {kind.__name__} cannot be made: {describe(error)}",
                given=", ".join(f"{name}={value}" for name, value in params.items()) or None,
                hint="its __init__ takes the fields of environment",
            ) from error

    return make


def finished(
    task: PromptTask, messages: Sequence[Mapping[str, Any]], environment: Any, tokens: int, truncated: bool
) -> Sample:
    """A rollout as rewards get it. Its completion is the model's own words of all turns: what a tool said cannot pass for
    an answer. The whole transcript and what the environment gave are columns.

    Args:
        messages: turns after the prompt, in TRL's form (`role`, `content`, `tool_calls`).
        environment: made by `factory`.
        tokens: length of all turns with the tools' results.
    """
    said = [str(turn.get("content") or "") for turn in messages if turn.get("role") == "assistant"]
    columns = {**task.meta, TRANSCRIPT: [dict(turn) for turn in messages], **_earned(environment)}
    return Sample(task.prompt, "\n".join(text for text in said if text), task.answer, columns, tokens, truncated)


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
            given = function["arguments"]
            shown = ", ".join(f"{key}={value}" for key, value in given.items()) if isinstance(given, Mapping) else given
            lines.append(f"{function['name']}({shown})")
    return "\n".join(lines)


def settled(result: Any) -> Any:
    """A result, waited for if the method that gave it is async."""

    async def wait() -> Any:
        return await result

    return asyncio.run(wait()) if inspect.isawaitable(result) else result


def _earned(environment: Any) -> dict[str, Any]:
    if getattr(environment, "_earned", None) is None:
        return {}
    try:
        value = settled(environment._earned())
        return {EARNED: None if value is None else float(value)}
    except RlllmError:
        raise
    except Exception as error:
        return {FAILED: describe(error)}


def _tool(kind: type, name: str, method: Callable[..., Any]) -> Tool:
    place, text = f"the tool {name} of {kind.__name__}", inspect.getdoc(method) or ""
    if not text.strip():
        raise ConfigError(f"{place} has no docstring", hint="say in it what the tool does: models read it")
    signature = inspect.signature(method)
    parameters = [one for one in signature.parameters.values() if one.name != "self"]
    for one in parameters:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            raise ConfigError(f"{place} takes {one}", hint="name every argument of a tool")
        if one.annotation is one.empty:
            raise ConfigError(f"{place} has no type hint for {one.name}", hint=f"{one.name}: str")
        if not re.search(rf"^\s*{one.name}\s*(\(.*\))?\s*:", text.partition("Args:")[2], re.MULTILINE):
            raise ConfigError(
                f"{place} does not describe {one.name}", hint=f"a line under Args: in its docstring, {one.name}: ..."
            )
    return Tool(name, f"({', '.join(map(_argument, parameters))})", text.splitlines()[0])


def _argument(one: inspect.Parameter) -> str:
    hint = one.annotation if isinstance(one.annotation, str) else inspect.formatannotation(one.annotation)
    return f"{one.name}: {hint}" + ("" if one.default is one.empty else f" = {one.default!r}")
