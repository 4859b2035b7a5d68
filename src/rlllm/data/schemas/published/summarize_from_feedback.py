"""Summaries with human preferences (Stiennon et al. 2020, arXiv 2009.01325), the part `comparisons`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowError, RowSchema, text, without
from rlllm.data.schemas.preferred_side import index, pair


def _fits(row: Row) -> bool:
    info, summaries = row.get("info"), row.get("summaries")
    return isinstance(info, Mapping) and is_messages(summaries) and len(summaries) == 2 and "choice" in row


def _convert(row: Row) -> list[dict[str, Any]]:
    """The post, or else the article, with the line `TL;DR:` that the summaries follow."""
    source = row["info"].get("post") or row["info"].get("article")
    if not isinstance(source, str) or not source.strip():
        raise RowError("has neither a post nor an article in info")
    answers = [text(summary.get("text"), "the text of a summary") for summary in row["summaries"]]
    return pair(without(row, "summaries"), f"{source}\n\nTL;DR:", answers, index(row, "choice"))


SCHEMA = RowSchema(
    name="summarize-from-feedback",
    summary="Summaries of posts: two summaries and the number of the chosen one",
    fits=_fits,
    needs="info with a post or an article, two summaries and choice",
    convert={PreferencePair: _convert},
)
