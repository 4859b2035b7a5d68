"""How the attention that a completion's last tokens pay to the completion is spread over its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.signals.base import Signal, SignalContext
from rlllm.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import Window

_ATTENTION_BYTES = 2**30
"""Memory that the attention of all layers of one pass may take: transformers returns that of every layer."""


@dataclass(frozen=True)
class AttentionShares(Signal):
    """(B, T) float32: share of each token in the attention that the last tokens of its completion pay to the completion.

    Mean over heads and over those last tokens; what they pay to the prompt is left out, so that a completion's shares add up
    to 1. Only the attention of the last tokens is kept, so that no (T, T) matrix is made.

    Args:
        tokens: last tokens of a completion whose attention counts; all of a shorter one.
        layer: index among the layers; -1 is the last.
    """

    tokens: int = 64
    layer: int = -1
    name = "attention_shares"
    summary = "share of each token in the attention that the completion's last tokens pay to it, sum 1 (B, T)"
    cost = "pass"

    def compute(self, context: SignalContext) -> Tensor:
        import torch

        from rlllm.algorithms.forward_pass import Window
        from rlllm.algorithms.tensor_dict import prompts_with_completions

        ids, mask = prompts_with_completions(context.output)
        keep = context.output["completion_ids"].size(1)
        rows = min(context.rows_per_pass, self._most_rows(context.model, ids.size(1)))
        with torch.no_grad():
            return torch.cat(
                [
                    window.pad(self._shares(context.model, window))
                    for part in zip(ids.split(rows), mask.split(rows), strict=True)
                    for window in [Window.of(*part, keep)]
                ]
            )

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return torch.full((rows, tokens), 1 / tokens)

    def _most_rows(self, model: Any, width: int) -> int:
        config = model.config.get_text_config()
        each = 4 * config.num_hidden_layers * getattr(config, "num_attention_heads", 1) * self.tokens * width
        return max(_ATTENTION_BYTES // each, 1)

    def _shares(self, model: Any, window: Window) -> Tensor:
        """(B, kept)."""
        import torch

        width, lengths = window.ids.size(1), window.mask.sum(1, keepdim=True)
        # all rows end in the last column, so that the last tokens of all of them are the same columns
        columns = (torch.arange(width, device=window.ids.device) - (width - lengths)) % width
        order = window.mask.argsort(dim=1, stable=True, descending=True).gather(1, columns)
        ids, mask = window.ids.gather(1, order), window.mask.gather(1, order)
        attention = self._attention(model, ids, mask)
        own = window.target_mask.sum(1, keepdim=True)
        asks = torch.arange(width - attention.size(1), width, device=ids.device) >= width - own
        paid = (attention * asks.unsqueeze(2)).sum(1)
        places = (width - own + torch.arange(window.kept, device=ids.device)).clamp(max=width - 1)
        paid = paid.gather(1, places) * window.target_mask
        return paid / paid.sum(1, keepdim=True).clamp(min=torch.finfo(paid.dtype).tiny)

    def _attention(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, q, W) attention of the last q tokens, mean over heads; W columns, 0 where a layer does not look."""
        import torch

        last = min(self.tokens, ids.size(1) - 1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        before = model(
            input_ids=ids[:, :-last],
            attention_mask=mask[:, :-last],
            position_ids=positions[:, :-last],
            logits_to_keep=1,
            use_cache=True,
        )
        cache = getattr(before, "past_key_values", None)
        if cache is None:
            raise _without_attention(model)
        with _eager(model):
            layers = model(
                input_ids=ids[:, -last:],
                attention_mask=mask,
                position_ids=positions[:, -last:],
                past_key_values=cache,
                logits_to_keep=1,
                use_cache=True,
                output_attentions=True,
            ).attentions
        attention = layers[self.layer] if layers and len(layers) >= abs(self.layer) else None
        if attention is None or attention.dim() != 4:
            raise _without_attention(model)
        seen = attention.float().mean(1)
        # a layer with a sliding window has only the last columns
        return torch.nn.functional.pad(seen, (ids.size(1) - seen.size(2), 0))


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """The model with the implementation of attention that returns what it pays."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _without_attention(model: Any) -> ModelError:
    return ModelError(
        "the signal attention_shares needs a layer that pays attention to all tokens before, with a cache of keys and values",
        given=type(model).__name__,
        hint="advantage.layer names another layer; advantage=group gives all segments the advantage of the completion",
    )
