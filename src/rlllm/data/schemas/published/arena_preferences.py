"""Arena human preferences with one column for each outcome (lmsys-arena-human-preference-55k)."""

from __future__ import annotations

import json
from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import Row, RowError, RowSchema, has_columns, text, without
from rlllm.data.schemas.preferred_side import index, pair

_TEXTS = ("prompt", "response_a", "response_b")
_OUTCOMES = ("winner_model_a", "winner_model_b", "winner_tie")


def _turns(row: Row, column: str) -> list[Any]:
    """The texts of all turns, which are a JSON list in the file."""
    value = row[column]
    try:
        turns = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise RowError(f"has no JSON list of turns in {column}") from error
    if not isinstance(turns, list) or not turns:
        raise RowError(f"has no list of turns in {column}")
    return turns


def _convert(row: Row) -> list[dict[str, Any]]:
    prompts, *answers = (_turns(row, column) for column in _TEXTS)
    if len(prompts) > 1:
        raise RowError(
            "has several turns, which the two models answered differently: its answers are to different prompts"
        )
    outcome = [index(row, column) for column in _OUTCOMES]
    if sum(outcome) != 1:
        raise RowError(f"has not exactly one outcome in {', '.join(_OUTCOMES)}")
    texts = [text(turns[0], column) for turns, column in zip(answers, _TEXTS[1:], strict=True)]
    return pair(without(row, *_TEXTS), text(prompts[0], "prompt"), texts, None if outcome[2] else outcome[1])


SCHEMA = RowSchema(
    name="arena-preferences",
    summary="Arena preferences (55k): two responses and a column for each outcome",
    fits=has_columns(*_TEXTS, *_OUTCOMES),
    needs=", ".join((*_TEXTS, *_OUTCOMES)),
    convert={PreferencePair: _convert},
)
