"""Chatbot Arena conversations and MT-Bench human judgments (Zheng et al. 2023, arXiv 2306.05685).

The contents of arena-human-preference-140k are lists of parts.
"""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.preference import is_tie
from rlllm.data.schemas.base import Row, RowError, RowSchema, has_columns, without
from rlllm.data.schemas.preferred_side import last_turns, pair

_CONVERSATIONS = ("conversation_a", "conversation_b")
_WINNERS = {"model_a": 0, "a": 0, "model_b": 1, "b": 1}


def _convert(row: Row) -> list[dict[str, Any]]:
    """The last answers of the judged turns. Where an earlier turn was answered differently, they are no pair of one prompt."""
    winner = row["winner"]
    preferred = None if is_tie(winner) else _WINNERS.get(str(winner).strip().lower())
    if preferred is None and not is_tie(winner):
        raise RowError(f"has the winner {winner!r}; winners are model_a, model_b and ties")
    turns = row.get("turn")
    prompt, answers = last_turns(row, *_CONVERSATIONS, turns if isinstance(turns, int) and turns > 0 else None)
    return pair(without(row, *_CONVERSATIONS), prompt, answers, preferred)


SCHEMA = RowSchema(
    name="chatbot-arena",
    summary="Chatbot Arena and MT-Bench judgments: two conversations and a winner",
    fits=has_columns("conversation_a", "conversation_b", "winner"),
    needs="conversation_a, conversation_b and winner",
    convert={PreferencePair: _convert},
)
