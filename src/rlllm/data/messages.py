"""Chat messages of rows, in the usual spellings (`role`/`content`, ShareGPT's `from`/`value`), to `{role, content}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from rlllm.core.errors import DataError
from rlllm.core.records import Message
from rlllm.data.io.formats import json_type

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
"""Role names in use (ShareGPT's among them) to the roles of chat templates."""


def is_messages(value: Any) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    """True for a non-empty list of mappings."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(turn, Mapping) for turn in value)


def parse(value: Any, place: str) -> list[Message]:
    """Messages of one row, from `role`/`content` or ShareGPT's `from`/`value`.

    Raises:
        DataError: not a list of messages, an unknown role, or content that is no text (images, tool calls).
    """
    if not is_messages(value):
        raise DataError(
            f"{place}: expected a list of chat messages, found {_type_of(value)}", hint="[{role, content}, ...]"
        )
    return [_message(turn, f"message {number} at {place}") for number, turn in enumerate(value, start=1)]


def split_last(messages: Sequence[Message], place: str) -> tuple[list[Message], str]:
    """All messages before the last assistant turn, and the text of that turn; messages after it are dropped.

    Raises:
        DataError: there is no assistant turn.
    """
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] == "assistant":
            return list(messages[:index]), messages[index]["content"]
    raise DataError(f"{place}: the conversation has no assistant turn", exists=[turn["role"] for turn in messages])


def _message(turn: Mapping[str, Any], place: str) -> Message:
    role = turn.get("role", turn.get("from"))
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise DataError(f"{place} has the unknown role {role!r}", exists=_ROLES)
    if turn.get("tool_calls"):
        raise DataError(
            f"{place} calls tools; only text can be carried over", hint="drop such rows, or write them as text"
        )
    return {"role": _ROLES[role.lower()], "content": _content(turn.get("content", turn.get("value")), place)}


def _content(value: Any, place: str) -> str:
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list | tuple) else [value]
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in parts]
    if not parts or not all(isinstance(text, str) for text in texts):
        raise DataError(f"the content of {place} must be text, found {json_type(value)}")
    return "".join(str(text) for text in texts)


def _type_of(value: Any) -> str:
    return "an empty list" if isinstance(value, list | tuple) and not value else json_type(value)
