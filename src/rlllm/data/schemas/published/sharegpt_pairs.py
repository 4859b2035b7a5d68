"""LLaMA-Factory's pairs: a ShareGPT conversation, and the messages `chosen` and `rejected` that may follow it."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema, without
from rlllm.data.schemas.published.sharegpt import is_sharegpt


def _fits(row: Row) -> bool:
    return is_sharegpt(row) and all(is_messages([row.get(side)]) for side in ("chosen", "rejected"))


def _convert(row: Row) -> list[dict[str, Any]]:
    completions = {side: [row[side]] for side in ("chosen", "rejected")}
    return [{**without(row, "conversations", *completions), "prompt": row["conversations"], **completions}]


SCHEMA = RowSchema(
    name="sharegpt-pairs",
    summary="ShareGPT conversations with chosen and rejected messages",
    fits=_fits,
    needs="conversations, and chosen and rejected with one message each",
    convert={PreferencePair: _convert},
)
