"""Forward passes over the completion part of a batch, without the columns that are padding in every row.

Positions are counted from the first real token, so that left padding changes nothing, whatever the architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


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

    def pad(self, values: Tensor) -> Tensor:
        """(B, kept) back to (B, keep), with zeros where columns were cut off."""
        return torch.nn.functional.pad(values, (0, self.keep - self.kept))


def completion_logps(
    model: Any, input_ids: Tensor, attention_mask: Tensor, keep: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (nats) of the last `keep` tokens, both (B, keep); entropies carry no gradient."""
    window = Window.of(input_ids, attention_mask, keep)
    kept = window.kept
    output = model(
        input_ids=window.ids,
        attention_mask=window.mask,
        position_ids=window.positions,
        logits_to_keep=kept + 1,
        use_cache=False,
    )
    logits = output.logits[:, -kept - 1 : -1].float()
    distribution = torch.log_softmax(logits if temperature == 1 else logits / temperature, dim=-1)
    logps = distribution.gather(2, window.ids[:, -kept:].unsqueeze(2)).squeeze(2)
    with torch.no_grad():  # row by row: a batch of whole vocabularies at once is what runs a laptop out of memory
        entropies = torch.stack([-(row.exp() * row).sum(-1) for row in distribution])
    return window.pad(logps), window.pad(entropies)


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
