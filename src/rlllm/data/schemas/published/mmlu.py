"""MMLU (Hendrycks et al. 2021, arXiv 2009.03300) and MMLU-Pro (Wang et al. 2024, arXiv 2406.01574)."""

from __future__ import annotations

from rlllm.data.schemas.base import Row
from rlllm.data.schemas.multiple_choice import Options, index_of, schema_of


def _options(row: Row) -> Options | None:
    """A list of texts, and the answer as an index from 0 or as a letter."""
    texts = row.get("choices", row.get("options"))
    right = index_of(row.get("answer"))
    if not isinstance(texts, list) or right is None:
        return None
    is_own_text = row["answer"] in texts  # a letter that is itself an option's text
    return None if is_own_text else (texts, right)


SCHEMA = schema_of(
    "mmlu",
    "MMLU and MMLU-Pro: a list of choices, and an index or a letter",
    _options,
    "question, a list of choices (or options), and an answer that is an index or a letter",
    ("choices", "options", "answer"),
)
