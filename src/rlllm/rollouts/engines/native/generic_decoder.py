"""The generic decoder: any decoder-only transformers model, by its own forward pass and cache."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rlllm.policies.padding import padded
from rlllm.policies.rope import frequencies_change
from rlllm.rollouts.engines.native.weight_layout import adds_tokens, base_of


def refusal(model: Any) -> str | None:
    """Why rows of this model's cache cannot be shared out and dropped; None if they can."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    base = base_of(model)
    if base.config.is_encoder_decoder:
        return "an encoder-decoder model"
    if lengthened := adds_tokens(model):
        return lengthened
    if base._is_stateful or not base._supports_default_dynamic_cache():
        return f"the state of {type(base).__name__} is not a cache of keys and values"
    kinds = {type(layer) for layer in DynamicCache(config=base.config).layers}
    foreign = kinds - {DynamicLayer, DynamicSlidingWindowLayer}
    return f"a cache with {foreign.pop().__name__}" if foreign else None


class GenericDecoder:
    """Tokens in, logits out.

    Args:
        model: one that `refusal` has nothing against, in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        taken = inspect.signature(base_of(model).forward).parameters
        self.positioned = "position_ids" in taken
        self.options = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}

    def prefill(self, prompts: Sequence[Sequence[int]], owners: list[int], room: int) -> Tensor:
        """Begin a batch: as `LlamaDecoder.prefill`; the states are (rows, V) logits."""
        device = self.model.device
        self.ids, self.mask = (torch.tensor(part, device=device) for part in padded(prompts, 0, left=True))
        logits = self._from_start()
        rows = torch.tensor(owners, device=device)
        self.cache.batch_select_indices(rows)
        self.ids, self.mask = self.ids[rows], self.mask[rows]
        return logits[rows]

    def advance(self, tokens: Tensor) -> Tensor:
        """(rows,) tokens -> (rows, V) logits of the next ones."""
        position = self.mask.sum(1, keepdim=True)
        self.mask = torch.cat((self.mask, torch.ones_like(position)), 1)
        self.ids = torch.cat((self.ids, tokens.unsqueeze(1)), 1)
        if frequencies_change(base_of(self.model).config, position + 1):
            return self._from_start()
        return self._forward(tokens.unsqueeze(1), self.mask, position)

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows alone."""
        indices = torch.tensor(rows, device=self.mask.device)
        self.cache.batch_select_indices(indices)
        self.ids, self.mask = self.ids[indices], self.mask[indices]

    def logits(self, states: Tensor) -> Tensor:
        """The states are logits already."""
        return states

    def _from_start(self) -> Tensor:
        """(rows, V) logits of the next tokens, with a new cache of all that there is."""
        from transformers.cache_utils import DynamicCache

        self.cache = DynamicCache(config=base_of(self.model).config)
        return self._forward(self.ids, self.mask, (self.mask.cumsum(1) - 1).clamp_(min=0))

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        placed = {"position_ids": positions} if self.positioned else {}
        output = self.model(
            input_ids=ids, attention_mask=mask, past_key_values=self.cache, use_cache=True, **placed, **self.options
        )
        return output.logits[:, -1]
