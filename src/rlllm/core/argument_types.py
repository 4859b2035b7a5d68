"""Arguments that a recipe gives to a class or a function: converted to the types the signature declares, or refused by name."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from rlllm.core.errors import ConfigError


def converted(target: Any, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The arguments as `target` declares them; one without a type hint stays as it is.

    Args:
        target: a class (its constructor counts), a function, or an object that can be called.
        given: arguments by name.
        owner: whose they are, as it ends a sentence: "the reward exact".

    Raises:
        ConfigError: a value that cannot be of the declared type.
    """
    hints = _hints(target)
    return {key: _converted(key, value, hints.get(key, Any), owner) for key, value in given.items()}


def _converted(key: str, value: Any, hint: Any, owner: str) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise ConfigError(f"{key} of {owner}: {problem[:1].lower()}{problem[1:]}", given=f"{key}: {value!r}") from error
    except PydanticUserError:  # a type pydantic has no schema for: the target itself must judge
        return value


def _hints(target: Any) -> dict[str, Any]:
    if isinstance(target, type):
        function = vars(target).get("__init__", target)
    else:
        function = target if inspect.isroutine(target) else type(target).__call__
    try:
        return typing.get_type_hints(function)
    except (TypeError, NameError):  # annotations that name what only a type checker imports
        return {}
