"""Columns that belong to a record beside its own: `system`, `history` (earlier turns), `tools` (descriptions of tools), the
`images` of a prompt, and the `reasoning` of a completion to learn.

They are found by name beside the columns of every record type and schema, and can be mapped, or switched off with `none`:
`columns.system=none`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlllm.core.errors import DataError, closest
from rlllm.core.records import Conversation, Message, Prompt, Record
from rlllm.data import messages, row_images
from rlllm.data.io.formats import json_type

ALIASES = {
    "system": ("system", "system_prompt", "system_message"),
    "history": ("history",),
    "tools": ("tools",),
    "images": ("images", "image"),
    "reasoning": ("reasoning_content", "thinking", "reasoning"),
}
"""Field -> the column names that mean it."""
OFF = "none"
"""What a map says for a column that is not to be used."""


def split_map(explicit: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """A user's column map as that of these columns and that of the record's fields."""
    own = {field: column for field, column in explicit.items() if field in ALIASES}
    return own, {field: column for field, column in explicit.items() if field not in ALIASES}


def choose(
    rows: Sequence[Mapping[str, Any]],
    explicit: Mapping[str, str],
    used: Mapping[str, str],
    source: str,
    kind: type[Record],
) -> dict[str, str]:
    """Field -> column, of the columns that these rows have.

    Args:
        explicit: the user's map of these fields.
        used: record field -> column expression of what is read already.
        kind: the record type that is made; a completion to learn alone has reasoning.

    Raises:
        DataError: the map names a column that is not there, or reasoning where there is no completion to learn.
    """
    reasons = kind is Conversation and "completion" in used
    if not reasons and explicit.get("reasoning", OFF) != OFF:
        raise DataError(
            f"a column of reasoning goes with a completion to learn, and these are {kind.__name__} rows",
            given=f"{source}: reasoning={explicit['reasoning']}",
            hint=f"leave it out with reasoning={OFF}; messages hold theirs as reasoning_content",
        )
    names = {str(name) for row in rows for name in row}
    for field, column in explicit.items():
        if column not in {OFF, *ALIASES[field], *names}:
            near = closest(column, names)
            hint = f"did you mean --columns {field}={near}?" if near else f"leave it out with {field}={OFF}"
            raise DataError(
                f"there is no column {column}, which is mapped to {field}",
                given=source,
                exists=sorted(names),
                hint=hint,
            )
    taken = {part for expression in used.values() for part in (expression, *expression.split("+"))}
    chosen = {}
    for field, aliases in ALIASES.items():
        if field == "reasoning" and not reasons:
            continue
        candidates = [name for name in aliases if name not in taken]
        fitting = (name for name in candidates if name in names and _fits(field, name, rows))
        if field in explicit:
            if explicit[field] in {OFF, *names}:  # a usual name may be absent: imports name what their tool would read
                chosen[field] = explicit[field]
        elif name := next(fitting, None):
            chosen[field] = name
    return chosen


def with_context(prompt: Prompt, system: str | None, history: Sequence[Message]) -> Prompt:
    """The prompt behind a system message, unless it begins with one of its own, and behind earlier turns."""
    if not system and not history:
        return prompt
    turns = ([{"role": "user", "content": prompt}] if prompt else []) if isinstance(prompt, str) else list(prompt)
    if turns and turns[0]["role"] == "system":
        return [turns[0], *history, *turns[1:]]
    system = None if history and history[0]["role"] == "system" else system
    return [*([{"role": "system", "content": system}] if system else []), *history, *turns]


def with_system(record: Any, text: str) -> Any:
    """The record behind a system message; itself where its prompt begins with one, or where it has no prompt."""
    if isinstance(record, Conversation) and not record.prompt:
        return record
    prompt = with_context(record.prompt, text, [])
    if prompt == record.prompt:
        return record
    if isinstance(record, Conversation) and record.trained_turns:
        return replace(record, prompt=prompt, trained_turns=tuple(place + 1 for place in record.trained_turns))
    return replace(record, prompt=prompt)


def system_text(value: Any, place: str, column: str) -> str | None:
    """The text of a system column; None where the row has none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise DataError(f"{column} at {place} must be text, found {json_type(value)}", hint=_off("system"))
    return value


def reasoning_text(value: Any, place: str, column: str) -> str | None:
    """The reasoning of a completion; None where the row has none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise DataError(f"{column} at {place} must be text, found {json_type(value)}", hint=_off("reasoning"))
    return value


def history_turns(value: Any, place: str, column: str) -> list[messages.MarkedTurn]:
    """The earlier turns of a row: messages, or pairs of a question and an answer; also as JSON text."""
    value = _loaded(value)
    if not value:
        return []
    if messages.is_messages(value):
        return messages.marked_turns(value, f"{column} at {place}")
    if not _is_pairs(value):
        raise DataError(
            f"{column} at {place} is a history that is not a list of [question, answer] pairs", hint=_off("history")
        )
    return [turn for pair in value for turn in messages.marked_turns(_of_pair(pair), f"{column} at {place}")]


def tool_descriptions(value: Any, place: str, column: str) -> list[dict[str, Any]]:
    """The tools of a row, as the objects that chat templates take; also from JSON text. A single one may stand alone."""
    value = _loaded(value)
    if not value:
        return []
    if not _is_tools(value):
        raise DataError(f"{column} at {place} must be a list of tools, found {json_type(value)}", hint=_off("tools"))
    return [dict(_loaded(tool)) for tool in ([value] if isinstance(value, Mapping) else value)]


def _fits(field: str, column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether more than half of a column's values are of the field's type, or there are none; the others are bad rows."""
    values = [row[column] for row in rows if row.get(column) not in (None, "")]
    return not values or 2 * sum(_is_of(field, value) for value in values) > len(values)


def _is_of(field: str, value: Any) -> bool:
    if field in ("system", "reasoning"):
        return isinstance(value, str)
    if field == "images":
        return value == [] or row_images.could_be(value)
    loaded = _loaded(value)
    return not loaded or (_is_tools(loaded) if field == "tools" else messages.is_messages(loaded) or _is_pairs(loaded))


def _is_tools(value: Any) -> bool:
    """Whether a value is a tool, or a list of tools or of their JSON text."""
    tools = [value] if isinstance(value, Mapping) else value
    return isinstance(tools, list | tuple) and all(isinstance(_loaded(tool), Mapping) for tool in tools)


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in value
    )


def _of_pair(pair: Sequence[str]) -> list[Message]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), pair, strict=True)]


def _loaded(value: Any) -> Any:
    """The value of JSON text, and None for a blank one; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError):
        return value


def _off(field: str) -> str:
    return (
        f"map another column or leave it out: --columns {field}={OFF}; "
        "or count and leave out such rows: data.on_bad_row=skip"
    )
