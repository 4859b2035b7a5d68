"""Multiple choice with a column for each option."""

from __future__ import annotations

from rlllm.data.schemas.base import Row
from rlllm.data.schemas.multiple_choice import Options, index_of, schema_of

_LETTERS = "ABCDEFGHIJ"


def _options(row: Row) -> Options | None:
    """Columns A, B, C, ... without a gap, and the answer as a letter or an index from 0."""
    texts = [row[letter] for letter in _LETTERS if row.get(letter) not in (None, "")]
    right = index_of(row.get("answer"))
    without_gap = all(row.get(letter) == option for letter, option in zip(_LETTERS, texts, strict=False))
    return (texts, right) if without_gap and right is not None else None


SCHEMA = schema_of(
    "option-columns",
    "multiple choice in columns A, B, C, ...",
    _options,
    "question, columns A, B, ... and an answer",
    (*_LETTERS, "answer"),
)
