"""OpenAssistant conversations (Koepf et al. 2023, arXiv 2304.07327): one message in each row, the rows of a tree together."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from rlllm.core.records import Conversation, PreferencePair
from rlllm.data.schemas.base import FOLLOWING, Row, RowError, RowSchema, has_columns
from rlllm.data.schemas.message_trees import best_and_worst, best_path


def _tree(row: Row) -> dict[str, Any]:
    """The first message of the tree, each message with its replies in `replies`."""
    messages = [row, *row[FOLLOWING]]
    replies: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    nodes = {message["message_id"]: {**message, "replies": []} for message in messages}
    nodes = {name: {key: value for key, value in node.items() if key != FOLLOWING} for name, node in nodes.items()}
    for node in nodes.values():
        replies[node["parent_id"]].append(node)
    for name, node in nodes.items():
        node["replies"] = replies.get(name, [])
    roots = [node for node in nodes.values() if node["parent_id"] not in nodes]
    if len(roots) != 1:
        raise RowError(f"begins the rows of a message tree that has {len(roots)} first messages")
    return roots[0]


SCHEMA = RowSchema(
    name="oasst",
    summary="OpenAssistant: one message in each row, with its parent and rank",
    fits=has_columns("message_id", "parent_id", "text", "role", "message_tree_id"),
    needs="message_id, parent_id, text, role and message_tree_id",
    convert={
        Conversation: lambda row: best_path(_tree(row), {"message_tree_id": row["message_tree_id"]}),
        PreferencePair: lambda row: best_and_worst(_tree(row), {"message_tree_id": row["message_tree_id"]}),
    },
    group_by={Conversation: "message_tree_id", PreferencePair: "message_tree_id"},
)
