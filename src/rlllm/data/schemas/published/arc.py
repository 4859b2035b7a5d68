"""ARC (Clark et al. 2018, arXiv 1803.05457) and CommonsenseQA (Talmor et al. 2019, arXiv 1811.00937)."""

from __future__ import annotations

from collections.abc import Mapping

from rlllm.data.schemas.base import Row
from rlllm.data.schemas.multiple_choice import Options, schema_of


def _options(row: Row) -> Options | None:
    """`choices` with `label` and `text`, and the label of the right one in `answerKey`."""
    choices = row.get("choices")
    if not isinstance(choices, Mapping):
        return None
    labels, texts = choices.get("label"), choices.get("text")
    if not isinstance(labels, list) or not isinstance(texts, list) or len(labels) != len(texts):
        return None
    right = [index for index, label in enumerate(labels) if label == row.get("answerKey")]
    return (texts, right[0]) if len(right) == 1 else None


SCHEMA = schema_of(
    "arc",
    "ARC and CommonsenseQA: labelled choices",
    _options,
    "question, choices with label and text, and answerKey",
    ("choices", "answerKey"),
)
