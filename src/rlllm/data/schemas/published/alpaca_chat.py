"""Alpaca rows with LLaMA-Factory's columns `system` and `history`."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Converter, Row, RowError, RowSchema, has_columns, text, without
from rlllm.data.schemas.published.alpaca import ALPACA_COLUMNS, ANSWER_COLUMNS


def _fits(row: Row) -> bool:
    return bool({"system", "history"} & row.keys()) and has_columns(*ALPACA_COLUMNS, lacks=ANSWER_COLUMNS)(row)


def _converter(field: str) -> Converter:
    """Rows with `output` in `field`, and the system message and all earlier turns in the prompt."""

    def convert(row: Row) -> list[dict[str, Any]]:
        request = text(row["instruction"], "instruction")
        if row["input"] not in (None, ""):
            request += "\n\n" + text(row["input"], "input")
        earlier_turns = [*_system_turn(row), *_history_turns(row)]
        prompt = [*earlier_turns, {"role": "user", "content": request}] if earlier_turns else request
        return [{**without(row, *ALPACA_COLUMNS, "system", "history"), "prompt": prompt, field: row["output"]}]

    return convert


def _system_turn(row: Row) -> list[dict[str, str]]:
    system = row.get("system")
    return [{"role": "system", "content": system}] if isinstance(system, str) and system.strip() else []


def _history_turns(row: Row) -> list[dict[str, str]]:
    turns = []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise RowError("has a history that is not a list of [question, answer] pairs")
    for pair in history:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise RowError("has a history that is not a list of [question, answer] pairs")
        question, answer = (text(part, "history") for part in pair)
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return turns


SCHEMA = RowSchema(
    name="alpaca-chat",
    summary="Alpaca with a system message or earlier turns (LLaMA-Factory)",
    fits=_fits,
    needs="instruction, input, output, and system or history",
    convert={Conversation: _converter("completion"), PromptTask: _converter("answer")},
)
