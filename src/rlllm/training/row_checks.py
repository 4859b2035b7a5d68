"""Rows against a model and its tokenizer, once both are loaded and before anything is measured or trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    Prompt,
    Record,
    StepwiseSolution,
    full_text,
)
from rlllm.policies.vocabulary import beyond_embedding, refuse_rows


def check_tokens(records: Iterable[Record], model: Any, tokenizer: Any) -> None:
    """Raise DataError for the first row whose text holds a token that the model has no vector for."""
    size = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if isinstance(size, int):
        refuse_rows((_texts(record) for record in records), beyond_embedding(tokenizer, size), size)


def _texts(record: Record) -> tuple[Prompt, tuple[str, ...]]:
    """Prompt and completions of a record."""
    match record:
        case Conversation() | LabelledCompletion():
            return record.prompt, (full_text(record.completion),)
        case PreferencePair():
            return record.prompt, (full_text(record.chosen), full_text(record.rejected))
        case StepwiseSolution():
            return record.prompt, record.steps
    return record.prompt, ()
