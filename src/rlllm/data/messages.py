"""Chat messages of rows, in the usual spellings (`role`/`content`, ShareGPT's `from`/`value`), to `core.records.Message`.

An image part keeps what the row has for it, or None where a column of images is to fill it; `row_images` makes references.

Tool calls, reasoning and unknown keys are kept, since the chat template may render them. Marks that say whether a turn trains
(`weight`, `train`, `training`, `loss`) are read and taken out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from rlllm.core.errors import DataError
from rlllm.core.records import MESSAGE_KEYS, Completion, Content, Message
from rlllm.data.io.formats import excerpt, json_type

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
"""Role names in use (ShareGPT's, LLaMA-Factory's and ms-swift's among them) to the roles of chat templates."""
_CALL_ROLES = ("function_call", "tool_call")
"""Roles whose content is a call as JSON text."""
_IMAGES = {
    "image": ("image", "image_url", "url", "path", "base64"),
    "image_url": ("image_url",),
    "input_image": ("image_url",),
}
"""Type of an image part -> the keys that may hold the image."""
_REASONING = ("reasoning_content", "reasoning", "thinking")
MARKS = ("weight", "train", "training", "loss")
"""Keys of a message that say whether its turn trains."""
_REPLACED = frozenset({"role", "from", "content", "value", "tool_calls", "function_call", *_REASONING, *MARKS})


@dataclass(frozen=True, slots=True)
class MarkedTurn:
    """A message, and whether its row wants it to be imitated: True for a turn of the assistant that nothing is said about."""

    message: Message
    trains: bool


def is_messages(value: Any) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    """True for a non-empty list of mappings."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(turn, Mapping) for turn in value)


def decoded(value: Any) -> Any:
    """The messages of JSON text (`[{"role": ..., "content": ...}]`); any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    messages = _json(value)
    return messages if is_messages(messages) and all({"role", "from"} & turn.keys() for turn in messages) else value


def parse(value: Any, place: str) -> list[Message]:
    """Messages of one row, without their marks. Raises as `marked_turns`."""
    return [turn.message for turn in marked_turns(value, place)]


def marked_turns(value: Any, place: str) -> list[MarkedTurn]:
    """Messages of one row, from `role`/`content` or ShareGPT's `from`/`value`, as a list or as JSON text.

    Raises:
        DataError: not a list of messages, an unknown role, content that is neither text nor images, an image of the
            assistant, a call or a mark that cannot be read.
    """
    value = decoded(value)
    if not is_messages(value):
        raise DataError(
            f"{place}: expected a list of chat messages, found {_type_of(value)}", hint="[{role, content}, ...]"
        )
    return [_turn(turn, f"message {number} at {place}") for number, turn in enumerate(value, start=1)]


def split_last(turns: Sequence[MarkedTurn], place: str) -> tuple[list[Message], Completion]:
    """All messages before the last turn of the assistant, and that turn; messages after it are dropped.

    Raises:
        DataError: there is no turn of the assistant.
    """
    last = _last([turn.message["role"] == "assistant" for turn in turns])
    if last is None:
        roles = [turn.message["role"] for turn in turns]
        raise DataError(f"{place}: the conversation has no assistant turn", exists=roles)
    return [turn.message for turn in turns[:last]], as_completion(turns[last].message)


def split_trained(turns: Sequence[MarkedTurn], place: str) -> tuple[list[Message], Completion, tuple[int, ...]]:
    """All messages before the last turn that trains, that turn, and the places of earlier ones; what follows is dropped.

    Raises:
        DataError: no turn of the assistant trains.
    """
    last = _last([turn.trains for turn in turns])
    if last is None:
        before, _ = split_last(turns, place)
        raise DataError(
            f"{place}: the marks of the messages leave no assistant turn to train on", given=f"{before}"[:80]
        )
    earlier = tuple(index for index, turn in enumerate(turns[:last]) if turn.trains)
    return [turn.message for turn in turns[:last]], as_completion(turns[last].message), earlier


def as_completion(message: Message) -> Completion:
    """The text of a message that is nothing but text, else the message in a list."""
    return message["content"] if message.keys() == {"role", "content"} else [message]


def is_blank(completion: Completion) -> bool:
    """Whether a completion has neither text nor reasoning nor a tool call."""
    if isinstance(completion, str):
        return not completion.strip()
    return not any(
        message["content"].strip() or message.get("tool_calls") or message.get("reasoning_content", "").strip()
        for message in completion
    )


def same_turns(first: Sequence[Message], second: Sequence[Message]) -> bool:
    """Whether two dialogues say the same; unknown keys, such as ids and times, do not count."""
    known = [[{key: turn[key] for key in turn.keys() & MESSAGE_KEYS} for turn in turns] for turns in (first, second)]
    return known[0] == known[1]


def _last(marks: Sequence[bool]) -> int | None:
    return max((index for index, mark in enumerate(marks) if mark), default=None)


def _turn(turn: Mapping[str, Any], place: str) -> MarkedTurn:
    given = turn.get("role", turn.get("from"))
    name = given.lower() if isinstance(given, str) else ""
    if name not in _ROLES:
        raise DataError(f"{place} has the unknown role {given!r}", exists=_ROLES)
    role = _ROLES[name]
    content = turn.get("content", turn.get("value"))
    calls = _calls(turn, content if name in _CALL_ROLES else None, place)
    text, reasoning = ("", None) if name in _CALL_ROLES else _content(content, place, role, optional=bool(calls))
    reasoning = next((turn[key] for key in _REASONING if turn.get(key)), reasoning)
    if reasoning is not None and not isinstance(reasoning, str):
        raise DataError(f"the reasoning of {place} must be text, found {json_type(reasoning)}")
    message: Message = {"role": role, "content": text}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    message |= {str(key): item for key, item in turn.items() if key not in _REPLACED and item is not None}
    return MarkedTurn(message, _trains(turn, role, place))


def _content(value: Any, place: str, role: str, *, optional: bool) -> tuple[Content, str | None]:
    """The text of a message or its text and images, and the reasoning that stands in a part of it."""
    if isinstance(value, str):
        return value, None
    if value is None and optional:
        return "", None
    parts = value if isinstance(value, list | tuple) else [value]
    said: list[dict[str, Any]] = []
    reasoning = []
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        kind = kind if isinstance(kind, str) else None
        if kind == "text" and isinstance(part.get("text"), str):
            said.append({"type": "text", "text": part["text"]})
        elif kind in ("thinking", "reasoning") and isinstance(part.get(kind, part.get("text")), str):
            reasoning.append(part.get(kind, part.get("text")))
        elif role == "tool" and isinstance(value, Mapping | list):
            return json.dumps(value, ensure_ascii=False, default=str), None
        elif kind in _IMAGES:
            if role == "assistant":
                raise DataError(f"{place} is the assistant's and holds an image: only prompts show images")
            said.append({"type": "image", "image": next((part[key] for key in _IMAGES[kind] if part.get(key)), None)})
        else:
            found = f"a part of type {kind}" if isinstance(kind, str) and kind != "text" else json_type(value)
            raise DataError(f"the content of {place} must be text or images, found {found}")
    if not parts:
        raise DataError(f"the content of {place} must be text or images, found {json_type(value)}")
    return _joined(said), "".join(reasoning) or None


def _joined(parts: Sequence[dict[str, Any]]) -> Content:
    """The text of the parts; with images among them the parts, those of text that follow each other as one."""
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    joined: list[dict[str, Any]] = []
    for part in parts:
        if part["type"] == "text" and joined and joined[-1]["type"] == "text":
            joined[-1] = {**part, "text": joined[-1]["text"] + part["text"]}
        else:
            joined.append(part)
    return [part for part in joined if part["type"] == "image" or part["text"]]


def _calls(turn: Mapping[str, Any], content: Any, place: str) -> list[dict[str, Any]]:
    """Tool calls of a message in OpenAI's form, with arguments as an object where they are one."""
    given = turn.get("tool_calls") or turn.get("function_call") or content
    if not given:
        if content is not None:
            raise DataError(f"{place} is a call without content")
        return []
    calls = _json(given) if isinstance(given, str) else given
    calls = [calls] if isinstance(calls, Mapping) else calls
    if not is_messages(calls):
        raise DataError(
            f"{place} has a call that is no object: {excerpt(str(given), 0, 60)}", hint='{"name", "arguments"}'
        )
    return [_call(call, place) for call in calls]


def _call(call: Mapping[str, Any], place: str) -> dict[str, Any]:
    inner = call.get("function")
    function = inner if isinstance(inner, Mapping) else call
    name, arguments = function.get("name"), function.get("arguments", function.get("parameters"))
    if not isinstance(name, str) or not name:
        raise DataError(f"{place} has a call without a name: {excerpt(str(dict(call)), 0, 60)}")
    parsed = _json(arguments) if isinstance(arguments, str) else arguments
    outer = {"id": call["id"]} if call.get("id") else {}
    arguments = {} if arguments in (None, "") else parsed if isinstance(parsed, Mapping) else arguments
    return {**outer, "type": "function", "function": {"name": name, "arguments": arguments}}


def _trains(turn: Mapping[str, Any], role: str, place: str) -> bool:
    """What the marks say: a turn of the assistant trains unless one of them says no."""
    marks = {key: turn[key] for key in MARKS if turn.get(key) is not None}
    for key, mark in marks.items():
        if not isinstance(mark, bool | int | float) or mark not in (0, 1):
            raise DataError(
                f"{place} has {key} {mark!r}, which is neither 0 nor 1", hint="a turn trains or it does not"
            )
        if mark and key != "weight" and role != "assistant":
            raise DataError(
                f"{place} is to be trained on, but is the {role}'s", hint="only turns of the assistant train"
            )
    return role == "assistant" and all(marks.values())


def _json(text: str) -> Any:
    """The value of JSON text; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _type_of(value: Any) -> str:
    return "an empty list" if isinstance(value, list | tuple) and not value else json_type(value)
