"""A pair from two answers and a value that says which is preferred: SHP, PKU-SafeRLHF, WebGPT, Chatbot Arena and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.core.errors import DataError
from rlllm.data.messages import parse
from rlllm.data.schemas.base import Row, RowError


def pair(rest: Mapping[str, Any], prompt: Any, answers: Sequence[Any], preferred: int | None) -> list[dict[str, Any]]:
    """A row of the fields of a pair; none where neither answer is preferred.

    Args:
        rest: the other columns of the row.
        prompt: text or messages.
        answers: the two answers.
        preferred: 0 or 1, the place of the better one; None for a tie.
    """
    if preferred is None:
        return []
    return [{**rest, "prompt": prompt, "chosen": answers[preferred], "rejected": answers[1 - preferred]}]


def index(row: Row, column: str) -> int:
    """A column that holds 0 or 1. Raises RowError for anything else."""
    value = row[column]
    if isinstance(value, bool) or value not in (0, 1, "0", "1"):
        raise RowError(f"has {value!r} in {column}, where 0 or 1 names an answer")
    return int(value)


def last_turns(row: Row, first: str, second: str, turns: int | None = None) -> tuple[list[Any], list[str]]:
    """The messages that two conversations share, and the answer with which each of them ends.

    Args:
        row: the row.
        first: column of the first conversation, which holds messages as a list or as JSON text.
        second: column of the second one.
        turns: the user's turns that are judged; None for all.

    Raises:
        RowError: a column holds no conversation that ends with an answer, or the two differ before their last message.
    """
    before, answers = [], []
    for column in (first, second):
        try:
            messages = parse(row[column], column)
        except DataError as error:
            raise RowError(f"has no messages in {column}: {error.what}") from error
        cut = messages[: 2 * turns] if turns else messages
        if cut[-1]["role"] != "assistant":
            raise RowError(f"has a conversation in {column} that does not end with an answer in text")
        before.append([{"role": turn["role"], "content": turn["content"]} for turn in cut[:-1]])
        answers.append(cut[-1]["content"])
    if before[0] != before[1]:
        raise RowError(
            "holds two conversations that differ before their last turn, so its answers are to different prompts"
        )
    return before[0], answers
