"""OpenAssistant conversations as whole trees, one in each row (`*.trees.jsonl.gz`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.core.records import Conversation, PreferencePair
from rlllm.data.schemas.base import Row, RowSchema, without
from rlllm.data.schemas.message_trees import best_and_worst, best_path


def _fits(row: Row) -> bool:
    prompt: Any = row.get("prompt")
    return isinstance(prompt, Mapping) and {"text", "role", "replies"} <= prompt.keys()


SCHEMA = RowSchema(
    name="oasst-trees",
    summary="OpenAssistant: a message tree in each row",
    fits=_fits,
    needs="prompt, a message with text, role and replies",
    convert={
        Conversation: lambda row: best_path(row["prompt"], without(row, "prompt")),
        PreferencePair: lambda row: best_and_worst(row["prompt"], without(row, "prompt")),
    },
)
