"""One forward pass over prompts with their completions: logits, hidden states or values at each completion token.

Positions are counted from the first real token of a row, so that left padding changes nothing, whatever the architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms.token_logps import chosen_logps

PART_BYTES = 3 * 2**30
"""Memory that the activations and logits of rows that pass together may take."""


def most_rows(model: Any, keep: int) -> int:
    """How many rows may pass together so that the logits of `keep` tokens of each, and their softmax, have room; 0 for none."""
    return PART_BYTES // (8 * model.config.get_text_config().vocab_size * keep)


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
    def target_mask(self) -> Tensor:
        """(B, kept) 0/1: real completion tokens."""
        return self.mask[:, -self.kept :]

    @property
    def prefix(self) -> int:
        """Columns before the last prompt token, which predicts the first token of the completion."""
        return self.ids.size(1) - self.kept - 1

    def pad(self, values: Tensor) -> Tensor:
        """(B, kept) back to (B, keep), with zeros where columns were cut off."""
        return torch.nn.functional.pad(values, (0, self.keep - self.kept))


@dataclass(frozen=True)
class ForwardView:
    """What one forward pass shows of its completion tokens; the argument of `Signal.from_forward`. R rows, T tokens."""

    logits: Tensor
    """(R, T, V) before the temperature, at the position that predicts each token."""
    targets: Tensor
    """(R, T) token ids."""
    mask: Tensor
    """(R, T) 0/1: real completion tokens."""
    temperature: float
    hidden_states: tuple[Tensor, ...] = ()
    """(R, T, H) of each layer, the embeddings first, at the position that predicts each token; only where a signal has
    `reads_hidden_states`."""

    @cached_property
    def chosen(self) -> tuple[Tensor, Tensor]:
        """(R, T) log-probabilities of the targets, and (R, T) entropies without gradient, both in nats.

        The backward pass uses up `logits`.
        """
        return chosen_logps(self.logits, self.targets, self.temperature)


@dataclass(frozen=True)
class Pass:
    """A forward pass over some rows, and the way back from its layout to the padded batch."""

    view: ForwardView
    window: Window
    unpack: Callable[[Tensor], Tensor] | None = None
    """From the view's layout to (B, kept) by completion; None where the view has one row for each completion."""

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Row and column in the view's (R, T) layout of each completion token, both (B, kept); (0, 0) where there is none."""
        shape = self.view.targets.shape
        device = self.view.targets.device
        rows = torch.arange(shape[0], device=device).unsqueeze(1).expand(shape)
        columns = torch.arange(shape[1], device=device).unsqueeze(0).expand(shape)
        return (rows, columns) if self.unpack is None else (self.unpack(rows), self.unpack(columns))

    def restore(self, values: Tensor) -> Tensor:
        """Values (R, T) of the view, each at its place in the padded batch (B, keep)."""
        return self.window.pad(values if self.unpack is None else self.unpack(values))


def plain_pass(
    model: Any,
    window: Window,
    temperature: float,
    *,
    hidden_states: bool = False,
    inputs: Mapping[str, Any] | None = None,
) -> Pass:
    """A pass in which every row goes through the model by itself.

    Args:
        inputs: what the model takes of images. Where each token stands is then the model's to say.
    """
    output = model(
        input_ids=window.ids,
        attention_mask=window.mask,
        **(inputs or {"position_ids": window.positions}),
        logits_to_keep=window.kept + 1,
        use_cache=False,
        **({"output_hidden_states": True} if hidden_states else {}),
    )
    columns = slice(-window.kept - 1, -1)
    layers = tuple(layer[:, columns] for layer in output.hidden_states) if hidden_states else ()
    view = ForwardView(output.logits[:, columns], window.targets, window.target_mask, temperature, layers)
    return Pass(view, window)


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
