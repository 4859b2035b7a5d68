"""Instructions and chats: Alpaca (Taori et al. 2023) with LLaMA-Factory's `system` and `history`, and ShareGPT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlllm.core.records import Conversation, PreferencePair, PromptTask
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema, has, rest, text, unfit

_OTHER_ANSWERS = ("answer", "final_answer", "solution", "response", "completion", "target", "chosen", "rejected")
_ALPACA = ("instruction", "input", "output")
_is_alpaca = has(*_ALPACA, lacks=(*_OTHER_ANSWERS, "system", "history"))


def _is_alpaca_chat(row: Row) -> bool:
    return bool({"system", "history"} & row.keys()) and has(*_ALPACA, lacks=_OTHER_ANSWERS)(row)


def _chat(field: str) -> Callable[[Row, str], list[dict[str, Any]]]:
    """Rows with the output of an Alpaca row in `field`, and all that was said before in the prompt."""

    def expand(row: Row, place: str) -> list[dict[str, Any]]:
        asked = text(row["instruction"], "instruction", place)
        if row["input"] not in (None, ""):
            asked += "\n\n" + text(row["input"], "input", place)
        before = [*_system(row), *_history(row, place)]
        prompt = [*before, {"role": "user", "content": asked}] if before else asked
        return [{**rest(row, *_ALPACA, "system", "history"), "prompt": prompt, field: row["output"]}]

    return expand


def _system(row: Row) -> list[dict[str, str]]:
    system = row.get("system")
    return [{"role": "system", "content": system}] if isinstance(system, str) and system.strip() else []


def _history(row: Row, place: str) -> list[dict[str, str]]:
    turns = []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise unfit(place, "has a history that is not a list of [question, answer] pairs")
    for pair in history:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise unfit(place, "has a history that is not a list of [question, answer] pairs")
        asked, answered = (text(part, "history", place) for part in pair)
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return turns


def _is_sharegpt(row: Row) -> bool:
    turns = row.get("conversations")
    return is_messages(turns) and "from" in turns[0] and "value" in turns[0] and "answer" not in row


def _is_sharegpt_pair(row: Row) -> bool:
    return _is_sharegpt(row) and all(is_messages([row.get(side)]) for side in ("chosen", "rejected"))


def _sharegpt_pair(row: Row, place: str) -> list[dict[str, Any]]:
    prompt = [{"from": "system", "value": turn["content"]} for turn in _system(row)] + list(row["conversations"])
    sides = {side: [row[side]] for side in ("chosen", "rejected")}
    return [{**rest(row, "conversations", "system", *sides), "prompt": prompt, **sides}]


DIALOGUES = (
    RowSchema(
        "sharegpt-pairs",
        _is_sharegpt_pair,
        "conversations, and chosen and rejected with one message each",
        expands={PreferencePair: _sharegpt_pair},
    ),
    RowSchema(
        "sharegpt",
        _is_sharegpt,
        "conversations, a list of {from, value}",
        maps={kind: {"messages": "conversations"} for kind in (Conversation, PromptTask)},
    ),
    RowSchema(
        "alpaca",
        _is_alpaca,
        "instruction, input and output",
        maps={
            Conversation: {"prompt": "instruction+input", "completion": "output"},
            PromptTask: {"prompt": "instruction+input", "answer": "output"},
        },
    ),
    RowSchema(
        "alpaca-chat",
        _is_alpaca_chat,
        "instruction, input, output, and system or history",
        expands={Conversation: _chat("completion"), PromptTask: _chat("answer")},
    ),
)
