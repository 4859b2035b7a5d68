"""Forward passes that encode each prompt once for all its completions, and lay completions side by side where that pays."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from rlllm.algorithms.cpu.packing import Layout, laid_out, layout
from rlllm.algorithms.forward_pass import ForwardView, Pass, Window, plain_pass

SHORTEST_PREFIX = 8
"""Prompt tokens below which a second pass through the model costs more than it saves."""
_UNSHARED: WeakSet[Any] = WeakSet()
"""Models whose cache turned out to be of a kind that cannot be shared."""
_PACKS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def cheap_pass(model: Any, window: Window, temperature: float, *, hidden_states: bool = False) -> Pass:
    """A pass that gives the numbers of `plain_pass`, with each distinct prompt encoded once where the model's cache allows.

    What stands after the end of a completion may be zero.
    """
    if window.prefix >= SHORTEST_PREFIX and model not in _UNSHARED:
        shared = _shared(model, window, temperature, hidden_states)
        if shared is not None:
            return shared
    return plain_pass(model, window, temperature, hidden_states=hidden_states)


def _shared(model: Any, window: Window, temperature: float, hidden_states: bool) -> Pass | None:
    """Every distinct prompt passed once; None where nothing is saved or the cache cannot be shared."""
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
    packed = _layout(model, window, owner)
    for layer in prefix.layers:
        of_row = owner if packed is None else packed.prompts
        layer.keys, layer.values = layer.keys.index_select(0, of_row), layer.values.index_select(0, of_row)
    given, places = window.ids[:, before:-1], window.positions[:, before:-1]
    seen, targets, real = window.mask[:, :-1], window.targets, window.target_mask
    if packed is not None:
        given, places, targets, real = (packed.pack(values, 0) for values in (given, places, targets, real))
        seen = packed.attention(mask, model.dtype)
    wanted = {"output_hidden_states": True} if hidden_states else {}
    output = model(
        input_ids=given, attention_mask=seen, position_ids=places, past_key_values=prefix, use_cache=True, **wanted
    )
    view = ForwardView(output.logits, targets, real, temperature, tuple(output.hidden_states) if hidden_states else ())
    if packed is None:
        return Pass(view, window)
    rows, columns = window.targets.shape
    return Pass(view, window, lambda values: packed.unpack(values, rows, columns))


def _layout(model: Any, window: Window, owner: Tensor) -> Layout | None:
    if not packs(model, window.prefix):
        return None
    lengths = window.mask[:, -window.kept :].sum(1).clamp(min=1)
    price = 1 / (3 * model.config.get_text_config().hidden_size)
    return layout(lengths.tolist(), owner.tolist(), price, window.prefix)


def packs(model: Any, prefix: int) -> bool:
    """Whether completions of one prompt may lie side by side in one row; see `packing`.

    The model must look where a mask of all pairs of tokens says, and nowhere else: by its settings, and by a trial made once.

    Args:
        prefix: prompt tokens before the last.
    """
    if prefix < SHORTEST_PREFIX or getattr(model, "is_gradient_checkpointing", False):
        return False
    if model not in _PACKS:
        _PACKS[model] = _heeds_masks(model.config.get_text_config()) and _packs_alike(model)
    return _PACKS[model]


def _heeds_masks(config: Any) -> bool:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return (
        getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
        and kinds == {"full_attention"}
        and not any(windows)
    )


@torch.no_grad()
def _packs_alike(model: Any) -> bool:
    """Whether two completions in one row get the logits they get in rows of their own."""
    try:
        with torch.random.fork_rng(devices=[]):
            alone, together = (_tried(model, rows) for rows in ([[0], [1]], [[0, 1]]))
    except Exception:  # a model that cannot read such a mask fails in a way of its own
        return False
    return torch.allclose(together, alone, atol=1e-4, rtol=1e-3)


def _tried(model: Any, rows: list[list[int]]) -> Tensor:
    """Logits (5, V) of two short completions of one prompt, laid out in these rows."""
    prompt, completions = torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5, 0], [6, 7, 8]])
    packed, prompt_mask = laid_out(rows, [2, 3], [0, 0]), torch.ones_like(prompt)
    cache = model(input_ids=prompt, attention_mask=prompt_mask, use_cache=True).past_key_values
    for layer in cache.layers:
        layer.keys, layer.values = (states.index_select(0, packed.prompts) for states in (layer.keys, layer.values))
    output = model(
        input_ids=packed.pack(completions, 0),
        attention_mask=packed.attention(prompt_mask, model.dtype),
        position_ids=packed.pack(torch.arange(3, 6).expand(2, 3), 0),
        past_key_values=cache,
        use_cache=True,
    )
    return output.logits[packed.row, packed.slot][packed.owner.argsort(stable=True)]


def _plain(cache: Any, positions: int) -> bool:
    """Whether a cache is a key and a value tensor a layer, over all positions, and nothing else."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    layers = cache.layers if isinstance(cache, DynamicCache) else []
    plain = (type(layer) is DynamicLayer and layer.get_seq_length() == positions for layer in layers)
    return bool(layers) and all(plain)
