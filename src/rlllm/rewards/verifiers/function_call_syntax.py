"""Parse the function calls written in a text, in the notations of models. Arguments are literals; nothing is evaluated."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlllm.core.python_source import module_tree
from rlllm.rewards.verifiers.submissions import final_part, parse_json, submission

_LONGEST = 50_000
"""Characters of what is read as Python: its parser recurses."""
_MOST_CALLS = 100
_LABELS = ("json", "python", "py", "tool_code", "tool_call")
_TAG = re.compile(r"<tool_call>((?:(?!<tool_call>).)*?)</tool_call>", re.DOTALL)


class UnreadableError(ValueError):
    """The text holds no calls, or something else beside them."""


class Call(NamedTuple):
    """One function call."""

    name: str
    arguments: Mapping[str, Any]


def read_calls(completion: str) -> list[Call]:
    """Every call of a completion, in order; at least one.

    Raises:
        UnreadableError: no call, several different blocks of calls, positional arguments, or arguments that are no literals.
    """
    text = final_part(completion)
    if "<tool_call>" in text:
        bodies = [match[1] for match in _TAG.finditer(text)]
        if len(bodies) != text.count("<tool_call>"):
            raise UnreadableError("a <tool_call> is not closed")
        calls = [call for body in bodies for call in _calls_in_json(_json(body))]
    else:
        block = submission(completion, _LABELS)
        if block.text is None:
            raise UnreadableError(block.fault)
        calls = _calls_in_block(block.text)
    if not calls:
        raise UnreadableError("no call")
    if len(calls) > _MOST_CALLS:
        raise UnreadableError(f"more than {_MOST_CALLS} calls")
    return calls


def _calls_in_json(value: Any) -> list[Call]:
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


def _calls_in_block(text: str) -> list[Call]:
    try:
        value = parse_json(text)
    except ValueError:
        return _calls_in_python(text)
    return _calls_in_json(value)


def _call_of(entry: Any) -> Call:
    if isinstance(entry, Mapping) and isinstance(entry.get("function"), Mapping):
        entry = entry["function"]
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise UnreadableError(f"no call: {json.dumps(entry, default=str)[:80]}")
    arguments = entry.get("arguments", entry.get("parameters", {}))
    arguments = _json(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(arguments, Mapping):
        raise UnreadableError(f"the arguments of {entry['name'][:80]} are no object")
    return Call(entry["name"], arguments)


def _json(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise UnreadableError(f"not JSON: {error}") from error


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
