"""ShareGPT conversations: a list of `{from, value}`."""

from __future__ import annotations

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema


def is_sharegpt(row: Row) -> bool:
    """Whether a row holds a conversation in ShareGPT's form."""
    turns = row.get("conversations")
    return is_messages(turns) and "from" in turns[0] and "value" in turns[0] and "answer" not in row


SCHEMA = RowSchema(
    name="sharegpt",
    summary="ShareGPT: conversations of {from, value}",
    fits=is_sharegpt,
    needs="conversations, a list of {from, value}",
    columns={kind: {"messages": "conversations"} for kind in (Conversation, PromptTask)},
    precedence=-2,
)
