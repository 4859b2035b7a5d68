"""Forward passes over the completion part of a batch: only the columns any row uses, and each prompt once for all its rows.

Positions are counted from the first real token, so that left padding changes nothing, whatever the architecture.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from rlllm.algorithms.logps import chosen_logps, token_signals

SHORTEST_PREFIX = 8
"""Prompt tokens below which a second pass through the model costs more than it saves."""
_UNSHARED: WeakSet[Any] = WeakSet()
"""Models whose cache turned out to be of a kind that cannot be shared."""


@dataclass(frozen=True)
class Window:
    """A padded batch cut to the columns any row uses.

    B rows, W columns, of which the last `kept` belong to completions; `keep` is their number before the cut.
    """

    ids: Tensor
    """(B, W)."""
    mask: Tensor
    """(B, W) 0/1."""
    kept: int
    keep: int

    @classmethod
    def of(cls, input_ids: Tensor, attention_mask: Tensor, keep: int) -> Window:
        """Cut a batch (B, P + keep) whose last `keep` columns are completions."""
        used = attention_mask.any(dim=0).nonzero().squeeze(1)
        prompt = input_ids.size(1) - keep
        first, last = int(used[0]), max(int(used[-1]) + 1, prompt + 1)
        return cls(input_ids[:, first:last], attention_mask[:, first:last], last - prompt, keep)

    @property
    def positions(self) -> Tensor:
        """(B, W) position of each token in its own row."""
        return (self.mask.cumsum(1) - 1).clamp(min=0)

    @property
    def targets(self) -> Tensor:
        """(B, kept) completion tokens."""
        return self.ids[:, -self.kept :]

    @property
    def prefix(self) -> int:
        """Columns before the last prompt token, which predicts the first token of the completion."""
        return self.ids.size(1) - self.kept - 1

    def pad(self, values: Tensor) -> Tensor:
        """(B, kept) back to (B, keep), with zeros where columns were cut off."""
        return torch.nn.functional.pad(values, (0, self.keep - self.kept))


def completion_logps(
    model: Any, input_ids: Tensor, attention_mask: Tensor, keep: int, temperature: float, *, share: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (nats) of the last `keep` tokens, both (B, keep); entropies carry no gradient.

    Args:
        share: pass a prompt through the model once for all rows that have it, where the model's cache allows.
    """
    window = Window.of(input_ids, attention_mask, keep)
    logits = completion_logits(model, window, share=share)
    logps, entropies = chosen_logps(logits, window.targets, temperature)
    return window.pad(logps), window.pad(entropies)


@torch.no_grad()
def completion_signals(
    model: Any, input_ids: Tensor, attention_mask: Tensor, keep: int, temperature: float, wanted: Set[str]
) -> dict[str, Tensor]:
    """What slot components ask for of the last `keep` tokens, each (B, keep): see `logps.token_signals`."""
    window = Window.of(input_ids, attention_mask, keep)
    logits = completion_logits(model, window, share=True)
    signals = token_signals(logits, window.targets, temperature, wanted)
    return {name: window.pad(values) for name, values in signals.items()}


def completion_logits(model: Any, window: Window, *, share: bool) -> Tensor:
    """(B, kept, V) logits that predict the completion tokens."""
    if share and window.prefix >= SHORTEST_PREFIX and model not in _UNSHARED:
        logits = _shared_logits(model, window)
        if logits is not None:
            return logits
    output = model(
        input_ids=window.ids,
        attention_mask=window.mask,
        position_ids=window.positions,
        logits_to_keep=window.kept + 1,
        use_cache=False,
    )
    return output.logits[:, -window.kept - 1 : -1]


def _shared_logits(model: Any, window: Window) -> Tensor | None:
    """The same with every distinct prompt passed once; None where nothing is saved or the cache cannot be shared."""
    before = window.prefix
    prompts = torch.cat([window.ids[:, :before], window.mask[:, :before]], dim=1)
    distinct, owner = torch.unique(prompts, dim=0, return_inverse=True)
    if 2 * len(distinct) > len(prompts) or getattr(model, "is_gradient_checkpointing", False):
        return None
    if getattr(model.config.get_text_config(), "output_router_logits", False):  # it counts experts by the whole mask
        return None
    ids, mask = distinct.split(before, dim=1)
    if not mask.any(dim=1).all():
        return None
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, use_cache=True)
    prefix: Any = getattr(output, "past_key_values", None)  # a recurrent model has another kind of state
    if not _plain(prefix, before):
        _UNSHARED.add(model)
        return None
    for layer in prefix.layers:
        layer.keys, layer.values = layer.keys.index_select(0, owner), layer.values.index_select(0, owner)
    output = model(
        input_ids=window.ids[:, before:-1],
        attention_mask=window.mask[:, :-1],
        position_ids=window.positions[:, before:-1],
        past_key_values=prefix,
        use_cache=True,
    )
    return output.logits


def _plain(cache: Any, positions: int) -> bool:
    """Whether a cache is a key and a value tensor a layer, over all positions, and nothing else."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    layers = cache.layers if isinstance(cache, DynamicCache) else []
    plain = (type(layer) is DynamicLayer and layer.get_seq_length() == positions for layer in layers)
    return bool(layers) and all(plain)


def completion_values(trunk: Any, head: Any, input_ids: Tensor, attention_mask: Tensor, keep: int) -> Tensor:
    """A value head's estimates (B, keep), each before its completion token is written.

    Args:
        trunk: a transformers base model (hidden states, no head).
        head: linear map from hidden states (..., H) to (..., 1), in a precision of its own.
    """
    window = Window.of(input_ids, attention_mask, keep)
    output = trunk(input_ids=window.ids, attention_mask=window.mask, position_ids=window.positions, use_cache=False)
    hidden = output.last_hidden_state[:, -window.kept - 1 : -1].to(head.weight.dtype)
    return window.pad(head(hidden).squeeze(-1).float())
