"""Rotary positions whose frequencies depend on the longest row of a batch: rows must not share a pass with longer ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def length_threshold(config: Any) -> int | None:
    """Tokens beyond which a model's rotary frequencies change (types `longrope`, as in Phi-3, and `dynamic`); None where they
    depend on nothing."""
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    kinds = [kind for kind in (parameters, *parameters.values()) if isinstance(kind, dict)]
    for kind in kinds:
        if kind.get("rope_type") in ("longrope", "dynamic"):
            original = kind.get("original_max_position_embeddings")
            return original or getattr(text, "original_max_position_embeddings", None) or text.max_position_embeddings
    return None


def runs_of_one_kind(model: Any, mask: Tensor) -> list[slice]:
    """Neighbouring rows that may pass together: all within the threshold, or one alone beyond it.

    Args:
        model: with a config.
        mask: (B, T) 0/1 of real tokens.
    """
    threshold = length_threshold(model.config)
    lengths = mask.sum(1).tolist()
    if threshold is None or max(lengths, default=0) <= threshold:
        return [slice(0, len(lengths))]
    return list(_runs([length > threshold for length in lengths]))


def _runs(beyond: list[bool]) -> Iterator[slice]:
    start = 0
    for row, alone in enumerate(beyond):
        if alone:
            if start < row:
                yield slice(start, row)
            yield slice(row, row + 1)
            start = row + 1
    if start < len(beyond):
        yield slice(start, len(beyond))
