"""Calls of functions as JSON and as Python writes them. Arguments are literals; nothing is evaluated."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlllm.core.python_source import module_tree
from rlllm.rewards.verifiers.submissions import JSON_DECODER, json_series, parse_json

_LONGEST = 50_000
"""Characters of what is read as Python: its parser recurses."""
_NAME_KEYS = ("name", "tool_name", "action")
_NAME_KEYS_BESIDE_ARGUMENTS = ("function", "tool")
"""Words that an object which is no call may have as well."""
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "tool_input", "action_input")
_NAME_BEFORE_OBJECT = re.compile(r"\s*(?:functions\.)?([A-Za-z_][\w.-]*)(?::\d+)?\s*(?:\[ARGS\]\s*)?(?=\{)")


class UnreadableError(ValueError):
    """The text holds no calls, or something else beside them."""


class Call(NamedTuple):
    """One function call."""

    name: str
    arguments: Mapping[str, Any]


class Untyped(str):
    """A value that a notation writes as bare text, so that `3` may be the number or the text."""

    __slots__ = ()

    def readings(self) -> list[Any]:
        """What it may stand for: the text, and the value of the text as JSON or a Python constant."""
        text = str(self)
        if text.strip() in _CONSTANTS:
            return [text, _CONSTANTS[text.strip()]]
        try:
            return [text, parse_json(text)]
        except ValueError:
            return [text]


_CONSTANTS: Mapping[str, bool | None] = {"True": True, "False": False, "None": None}


def calls_in_json(value: Any) -> list[Call]:
    """The calls of a JSON value: one call, a list of them, or `{"tool_calls": [...]}`.

    Raises:
        UnreadableError: a part of it is no call.
    """
    if isinstance(value, Mapping) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    return [_call_of(entry) for entry in (value if isinstance(value, list) else [value])]


def shown(calls: Sequence[Call]) -> str:
    """Calls as a person would write them, cut where they are long."""
    parts = (f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})" for call in calls)
    return "; ".join(parts)[:500]


def calls_in_block(text: str) -> list[Call]:
    """Calls in JSON (also several values in a row), as `name{...}`, or in Python's syntax.

    Raises:
        UnreadableError: it is none of these.
    """
    try:
        values = json_series(text)
    except ValueError:
        return _named_objects(text) or _calls_in_python(text)
    return [call for value in values for call in calls_in_json(value)]


def call_with(name: str, arguments: Any) -> Call:
    """A call of the function `name`; `arguments` is a mapping, or its JSON text.

    Raises:
        UnreadableError: the arguments are no object.
    """
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments) if arguments.strip() else {}
        except ValueError as error:
            raise UnreadableError(f"not JSON: {error}") from error
    if not isinstance(arguments, Mapping):
        raise UnreadableError(f"the arguments of {name[:80]} are no object")
    return Call(name, arguments)


def _named_objects(text: str) -> list[Call]:
    """Calls written as a name and a JSON object, one after another; [] if the text is anything else."""
    calls, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _NAME_BEFORE_OBJECT.match(text, position)
        if match is None:
            return []
        try:
            arguments, position = JSON_DECODER.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            return []
        calls.append(Call(match[1], arguments))
    return calls


def is_call(entry: Mapping[str, Any]) -> bool:
    """Whether an object is a call with a name, and not the name of a function with its arguments as the value."""
    inner = entry.get("function")
    return _name_of(entry) is not None or (isinstance(inner, Mapping) and _name_of(inner) is not None)


def _name_of(entry: Mapping[str, Any]) -> str | None:
    more = _NAME_KEYS_BESIDE_ARGUMENTS if any(key in entry for key in _ARGUMENT_KEYS) else ()
    return next((entry[key] for key in (*_NAME_KEYS, *more) if isinstance(entry.get(key), str)), None)


def _call_of(entry: Any) -> Call:
    if isinstance(entry, Mapping) and isinstance(entry.get("function"), Mapping):
        entry = entry["function"]
    name = _name_of(entry) if isinstance(entry, Mapping) else None
    if name is None:
        raise UnreadableError(f"no call: {json.dumps(entry, default=str)[:80]}")
    arguments = next((entry[key] for key in _ARGUMENT_KEYS if key in entry), None)
    return call_with(name, {} if arguments is None else arguments)


def _calls_in_python(text: str) -> list[Call]:
    if len(text) > _LONGEST:
        raise UnreadableError(f"more than {_LONGEST} characters")
    try:
        with warnings.catch_warnings(action="ignore"):
            body = module_tree(text.strip()).body
        return [_call_in(node) for statement in body for node in _elements(statement)]
    except UnreadableError:
        raise
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise UnreadableError(f"no call in JSON or Python's syntax ({type(error).__name__})") from error


def _elements(statement: ast.stmt) -> list[ast.expr]:
    if not isinstance(statement, ast.Expr):
        raise UnreadableError("a statement that is no call")
    value = statement.value
    return value.elts if isinstance(value, ast.List | ast.Tuple) else [value]


def _call_in(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise UnreadableError("an expression that is no call")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise UnreadableError("arguments without a name")
    return Call(_dotted(node.func), {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords})


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if not isinstance(node, ast.Name):
        raise UnreadableError("a function that is no name")
    return node.id


def _literal(node: ast.expr) -> Any:
    """The value of a literal of JSON's kinds. `ast.literal_eval` evaluates nothing but literals and their signs."""
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise UnreadableError(f"an argument that is no literal: {type(node).__name__}") from error
