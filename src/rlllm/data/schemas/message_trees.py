"""Trees of messages with ranked replies, the form of OpenAssistant: the best path as a conversation, and pairs of replies.

A message is a mapping with `text`, `role` (`prompter` or `assistant`), `replies`, and `rank`: 0 for the best of its siblings,
null where nobody compared them. Deleted messages, those that the review refused, and everything below them are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlllm.data.schemas.base import RowError, text

_ROLES = {"prompter": "user", "user": "user", "assistant": "assistant"}
_Node = Mapping[str, Any]


def best_path(root: _Node, rest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation that follows the best reply everywhere, up to the assistant's last message; with the columns of `rest`.

    An empty list where nobody answered.
    """
    path = [_message(root)]
    node = root
    while replies := _replies(node):
        node = replies[0]
        path.append(_message(node))
    while path and path[-1]["role"] != "assistant":
        path.pop()
    return [{**rest, "messages": path}] if path else []


def best_and_worst(root: _Node, rest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A pair for each message with ranked answers: the first and the last of them, after the dialogue that led there."""
    return list(_pairs(root, [], rest))


def _pairs(node: _Node, before: list[dict[str, str]], rest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    prompt = [*before, _message(node)]
    replies = _replies(node)
    ranked = [
        reply for reply in replies if isinstance(reply.get("rank"), int | float) and reply["rank"] == reply["rank"]
    ]
    if prompt[-1]["role"] == "user" and len(ranked) > 1 and ranked[0]["rank"] != ranked[-1]["rank"]:
        sides = {"chosen": _message(ranked[0])["content"], "rejected": _message(ranked[-1])["content"]}
        yield {**rest, "prompt": prompt, **sides}
    for reply in replies:
        yield from _pairs(reply, prompt, rest)


def _replies(node: _Node) -> Sequence[_Node]:
    """The replies that stay, the best first, those without a rank last."""
    replies = [reply for reply in node.get("replies") or [] if _stays(reply)]
    return sorted(replies, key=_rank)


def _stays(node: _Node) -> bool:
    return not node.get("deleted") and node.get("review_result") is not False


def _rank(node: _Node) -> float:
    rank = node.get("rank")
    return float(rank) if isinstance(rank, int | float) and rank == rank else float("inf")


def _message(node: _Node) -> dict[str, str]:
    role = node.get("role")
    if role not in _ROLES:
        raise RowError(f"has a message with the role {role!r}; roles are prompter and assistant")
    return {"role": _ROLES[role], "content": text(node.get("text"), "a message of the tree")}
