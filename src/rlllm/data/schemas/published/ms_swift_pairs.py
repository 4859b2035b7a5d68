"""ms-swift's pairs: a conversation, or a query and a response, and what is rejected in the place of the last answer."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowError, RowSchema, without


def _fits(row: Row) -> bool:
    if isinstance(row.get("query"), str) and isinstance(row.get("response"), str):
        return isinstance(row.get("rejected_response"), str)
    return is_messages(row.get("messages")) and bool({"rejected_response", "rejected_messages"} & row.keys())


def _convert(row: Row) -> list[dict[str, Any]]:
    """`rejected_response` is text or messages; `rejected_messages` is the whole other conversation."""
    if not is_messages(row.get("messages")):
        sides = {"prompt": row["query"], "chosen": row["response"], "rejected": row["rejected_response"]}
        return [{**without(row, "query", "response", "rejected_response"), **sides}]
    messages = list(row["messages"])
    rest = without(row, "messages", "rejected_response", "rejected_messages")
    if messages[-1].get("role", messages[-1].get("from")) not in ("assistant", "gpt"):
        raise RowError("has a conversation that does not end with an answer")
    if is_messages(row.get("rejected_messages")):
        return [{**rest, "chosen": messages, "rejected": row["rejected_messages"]}]
    response = row.get("rejected_response")
    if isinstance(response, str):
        response = [{"role": "assistant", "content": response}]
    if not is_messages(response):
        raise RowError("has no text in rejected_response")
    return [{**rest, "chosen": messages, "rejected": [*messages[:-1], *response]}]


SCHEMA = RowSchema(
    name="ms-swift-pairs",
    summary="ms-swift: messages, and rejected_response or rejected_messages; or query, response, rejected_response",
    fits=_fits,
    needs="messages, or query and response, and rejected_response or rejected_messages",
    convert={PreferencePair: _convert},
)
