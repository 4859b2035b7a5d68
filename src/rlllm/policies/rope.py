"""Rotary positions whose frequencies depend on a row's length (`longrope`, as in Phi-3, and `dynamic`).

transformers chooses the frequencies by the longest row of a batch, so that a row's log-probabilities would depend on the rows
beside it. `by_row` makes a loaded model choose them for each row by the row's own length, in training and in sampling.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_BY_LENGTH = ("longrope", "dynamic")


def length_threshold(config: Any) -> int | None:
    """Tokens beyond which a model's rotary frequencies change; None where they depend on nothing."""
    kind = _kind(config)
    if kind is None:
        return None
    text = config.get_text_config()
    if kind["rope_type"] == "dynamic":
        return int(text.max_position_embeddings)
    original = kind.get("original_max_position_embeddings") or getattr(text, "original_max_position_embeddings", None)
    return original or text.max_position_embeddings


def frequencies_change(config: Any, lengths: Tensor) -> bool:
    """Whether the last token of some row changed the frequencies of the tokens before it, so that cached keys are outdated.

    Args:
        config: of the model.
        lengths: (B,) tokens of each row, the last one included.
    """
    threshold, kind = length_threshold(config), _kind(config)
    if threshold is None or kind is None:
        return False
    outdated = lengths > threshold if kind["rope_type"] == "dynamic" else lengths == threshold + 1
    return bool(outdated.any())


def outgrows_cache(model: Any, tokens: int) -> bool:
    """Whether rows of so many tokens, decoded with cached keys, would mix frequencies of before and after the threshold."""
    threshold = length_threshold(model.config)
    return threshold is not None and tokens > threshold


def by_row(model: Any) -> Any:
    """Make every rotary embedding of a model that depends on lengths read the length of each row; returns the model.

    Another model, and one that has been treated, stay as they are.
    """
    for owner in list(model.modules()):
        for name, rotary in list(owner.named_children()):
            if _depends_on_length(rotary):
                setattr(owner, name, _RowRotary(rotary))
                owner.register_forward_pre_hook(_note_rows, with_kwargs=True)
    return model


class _RowRotary(nn.Module):
    """A rotary embedding that is asked for rows of one kind at a time.

    Args:
        rotary: of transformers; it chooses its frequencies by the largest position that it is given.
    """

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self.rotary = rotary
        self.mask: Tensor | None = None
        """(B, T) 0/1 of real tokens, cached ones included; None where the call of the model has none."""
        self.placed = False
        """Whether the call of the model has position ids."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("rotary"), name)

    def forward(self, x: Tensor, position_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Cosines and sines (B, T, D) of the last T tokens of each row, as the row has them alone."""
        positions, lengths = self._rows(position_ids)
        kinds = self._kinds(lengths)
        if len(kinds.unique()) == 1:
            return self._of_one_kind(x, positions, *args, **kwargs)
        parts = [
            (rows, self._of_one_kind(x, positions[rows], *args, **kwargs))
            for rows in (torch.nonzero(kinds == kind).squeeze(1) for kind in kinds.unique())
        ]
        if isinstance(parts[0][1], Tensor):
            return _joined(parts, len(kinds))
        return tuple(
            _joined([(rows, part[index]) for rows, part in parts], len(kinds)) for index in range(len(parts[0][1]))
        )

    def _rows(self, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B, T), 0 at padding, and the length (B,) of each row."""
        mask, count = self.mask, position_ids.size(-1)
        if mask is None or mask.size(1) < count or (self.placed and len(position_ids) not in (1, len(mask))):
            return position_ids, position_ids.amax(1) + 1
        places = position_ids.expand(len(mask), -1) if self.placed else (mask.cumsum(1) - 1)[:, -count:]
        return places.masked_fill(mask[:, -count:] == 0, 0), mask.sum(1)

    def _kinds(self, lengths: Tensor) -> Tensor:
        """(B,) numbers that are equal where rows have the same frequencies."""
        config = self.rotary.config
        if (_kind(config) or {}).get("rope_type") == "dynamic":
            return lengths.clamp(min=self.rotary.original_max_seq_len)
        return lengths > length_threshold(config)

    def _of_one_kind(self, x: Tensor, positions: Tensor, *args: Any, **kwargs: Any) -> Any:
        self._forget_longer_rows()
        return self.rotary(x, positions, *args, **kwargs)

    def _forget_longer_rows(self) -> None:
        """`dynamic` keeps the frequencies of the longest row it has seen until a row within the threshold comes."""
        for name, original in list(self.rotary.named_buffers(recurse=False)):
            prefix, found, _ = name.rpartition("original_inv_freq")
            if found:
                self.rotary.register_buffer(f"{prefix}inv_freq", original.clone(), persistent=False)
                setattr(self.rotary, f"{prefix}max_seq_len_cached", self.rotary.original_max_seq_len)


def _note_rows(owner: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Forward pre-hook of the module that calls a `_RowRotary`: which rows the call is about."""
    given = inspect.signature(owner.forward).bind_partial(*args, **kwargs).arguments
    given = {**given, **given.get("kwargs", {})}
    mask = given.get("attention_mask")
    for rotary in owner.children():
        if isinstance(rotary, _RowRotary):
            rotary.mask = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None
            rotary.placed = given.get("position_ids") is not None


def _joined(parts: list[tuple[Tensor, Tensor]], rows: int) -> Tensor:
    whole = parts[0][1].new_empty(rows, *parts[0][1].shape[1:])
    for indices, part in parts:
        whole[indices] = part
    return whole


def _depends_on_length(module: nn.Module) -> bool:
    kind = getattr(module, "rope_type", None)
    kinds = kind.values() if isinstance(kind, dict) else (kind,)
    return not isinstance(module, _RowRotary) and any(name in _BY_LENGTH for name in kinds)


def _kind(config: Any) -> Mapping[str, Any] | None:
    """The rotary parameters of a config that depend on lengths; None where there are none."""
    parameters = getattr(config.get_text_config(), "rope_parameters", None) or {}
    kinds = [kind for kind in (parameters, *parameters.values()) if isinstance(kind, dict)]
    return next((kind for kind in kinds if kind.get("rope_type") in _BY_LENGTH), None)
