"""WebGPT comparisons (Nakano et al. 2021, arXiv 2112.09332)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import Row, RowSchema, has_columns, number, text, without
from rlllm.data.schemas.preferred_side import pair

_has_answers = has_columns("question", "answer_0", "answer_1", "score_0", "score_1")
_ANSWERS = ("answer_0", "answer_1")


def _fits(row: Row) -> bool:
    return _has_answers(row) and (isinstance(row["question"], str) or "full_text" in _question(row))


def _question(row: Row) -> Mapping[str, Any]:
    return row["question"] if isinstance(row["question"], Mapping) else {"full_text": row["question"]}


def _convert(row: Row) -> list[dict[str, Any]]:
    """The answer with the higher score, with the difference as its margin; no pair where both are equal."""
    scores = [number(row[name], name) for name in ("score_0", "score_1")]
    answers = [text(row[name], name) for name in _ANSWERS]
    preferred = None if scores[0] == scores[1] else int(scores[1] > scores[0])
    rest = {**without(row, "question", *_ANSWERS), "margin": abs(scores[0] - scores[1])}
    return pair(rest, _question(row)["full_text"], answers, preferred)


SCHEMA = RowSchema(
    name="webgpt",
    summary="WebGPT comparisons: two answers with scores",
    fits=_fits,
    needs="question (with full_text), answer_0, answer_1, score_0 and score_1",
    convert={PreferencePair: _convert},
)
