"""Stanford Human Preferences (Ethayarajh et al. 2022, arXiv 2110.08420), SHP and SHP-2."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import Row, RowSchema, has_columns, text, without
from rlllm.data.schemas.preferred_side import index, pair

_ANSWERS = ("human_ref_A", "human_ref_B")


def _convert(row: Row) -> list[dict[str, Any]]:
    """`labels` is 1 where the first answer is preferred, and 0 where the second one is."""
    answers = [text(row[name], name) for name in _ANSWERS]
    return pair(without(row, "history", *_ANSWERS), row["history"], answers, 1 - index(row, "labels"))


SCHEMA = RowSchema(
    name="shp",
    summary="Stanford Human Preferences: two comments on a post, and which has more votes",
    fits=has_columns("history", "human_ref_A", "human_ref_B", "labels"),
    needs="history, human_ref_A, human_ref_B and labels",
    convert={PreferencePair: _convert},
)
