"""Tools from descriptions: methods that look as if somebody had written them, with type hints and lines under `Args:`.

Environments of other libraries describe their tools by JSON schemas, or by functions whose docstrings have no lines for the
arguments. Models learn of a tool, and TRL renders it, from a method's signature and docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from rlllm.core.errors import ConfigError

_HINTS: Mapping[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": None,
}


@dataclass(frozen=True)
class Argument:
    """An argument of a tool.

    Args:
        hint: its type.
        text: what it is, for models.
        default: `inspect.Parameter.empty` where it has to be given.
    """

    name: str
    hint: Any
    text: str
    default: Any = inspect.Parameter.empty


def arguments_of_schema(schema: Mapping[str, Any], *, leave_out: Iterable[str] = ()) -> list[Argument]:
    """The arguments that a JSON schema of an object describes, those first that have to be given."""
    named = {key: value for key, value in (schema.get("properties") or {}).items() if key not in set(leave_out)}
    required = set(schema.get("required") or ())
    arguments = [_argument(key, part, schema, needed=key in required) for key, part in named.items()]
    return sorted(arguments, key=lambda argument: argument.default is not inspect.Parameter.empty)


def method(
    name: str, text: str, arguments: Iterable[Argument], call: Callable[[Any, dict[str, Any]], Any], owner: str
) -> Callable[..., Any]:
    """A method that is a tool.

    Args:
        name: of the tool.
        text: what it does, for models.
        call: does it, given the object and the arguments by name, of the types of their hints.
        owner: whose tool it is, for errors: "the OpenEnv server http://...".

    Raises:
        ConfigError: the name cannot be that of a tool.
    """
    if not name.isidentifier() or name.startswith("_") or name in ("reset", "get_reward", "with_tools"):
        raise ConfigError(
            f"a tool of {owner} has a name that no tool can have here",
            given=name,
            hint="letters, digits and _, not first, and neither reset, get_reward nor with_tools",
        )
    known = list(arguments)
    types = {argument.name: TypeAdapter(argument.hint) for argument in known}
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([own, *map(_parameter, known)])

    def tool(self: Any, *given: Any, **named: Any) -> Any:
        taken = signature.bind(self, *given, **named).arguments
        return call(self, {key: _fitting(types[key], key, value) for key, value in taken.items() if key != "self"})

    lines = [f"    {argument.name}: {_one_line(argument.text) or argument.name}" for argument in known]
    tool.__name__ = name
    tool.__qualname__ = name
    tool.__doc__ = "\n".join([text.strip() or f"Call {name}.", *(["", "Args:", *lines] if lines else [])])
    tool.__annotations__ = {argument.name: argument.hint for argument in known}
    tool.__signature__ = signature  # type: ignore[attr-defined]
    return tool


def _fitting(kind: TypeAdapter[Any], name: str, value: Any) -> Any:
    """The value as the argument's type: models write numbers as text. What cannot be one is an error that they read."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise ValueError(f"{name}: {problem[:1].lower()}{problem[1:]}") from error


def _parameter(argument: Argument) -> inspect.Parameter:
    return inspect.Parameter(
        argument.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=argument.default,
        annotation=argument.hint,
    )


def _argument(name: str, part: Mapping[str, Any], schema: Mapping[str, Any], *, needed: bool) -> Argument:
    hint = _hint(part, schema)
    text = str(part.get("description") or part.get("title") or name)
    return Argument(name, hint, text, inspect.Parameter.empty if needed else part.get("default"))


def _hint(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """The Python type of a JSON schema's part; `Any` where it has none that could be named."""
    if "$ref" in part:
        return _hint((schema.get("$defs") or {}).get(str(part["$ref"]).rpartition("/")[2], {}), schema)
    if "enum" in part:
        return Literal[tuple(part["enum"])]
    kinds = part.get("anyOf") or part.get("oneOf")
    if not kinds and isinstance(part.get("type"), list):
        kinds = [{**part, "type": kind} for kind in part["type"]]
    if kinds:
        united = _hint(kinds[0], schema)
        for kind in kinds[1:]:
            united = united | _hint(kind, schema) if united is not Any else Any
        return united
    if part.get("type") == "array" and isinstance(part.get("items"), Mapping):
        return list[_hint(part["items"], schema)]  # type: ignore[misc]
    return _HINTS.get(str(part.get("type")), Any)


def _one_line(text: str) -> str:
    return " ".join(text.split())
