"""PKU-SafeRLHF (Ji et al. 2024, arXiv 2406.15513). Pairs are by helpfulness; `safer_response_id` stays another column."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import Row, RowSchema, has_columns, text, without
from rlllm.data.schemas.preferred_side import index, pair

_ANSWERS = ("response_0", "response_1")


def _convert(row: Row) -> list[dict[str, Any]]:
    """`better_response_id` is the number of the more helpful response."""
    answers = [text(row[name], name) for name in _ANSWERS]
    return pair(without(row, "prompt", *_ANSWERS), row["prompt"], answers, index(row, "better_response_id"))


SCHEMA = RowSchema(
    name="pku-saferlhf",
    summary="PKU-SafeRLHF: two responses, and the number of the more helpful one",
    fits=has_columns("prompt", "response_0", "response_1", "better_response_id"),
    needs="prompt, response_0, response_1 and better_response_id",
    convert={PreferencePair: _convert},
)
