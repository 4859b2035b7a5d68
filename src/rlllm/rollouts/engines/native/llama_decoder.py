"""The fast decoder: models of the Llama family in float32, by few large operations on weights laid out for the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlllm.policies.padding import padded
from rlllm.rollouts.engines.native.attention import SharedPromptAttention
from rlllm.rollouts.engines.native.weight_layout import Block, Weights

_PREFILL_TOKENS = 4096
"""Prompt tokens computed at once."""


class LlamaDecoder:
    """Tokens in, hidden states out. Weights are those the model has now: make a new decoder after it has learned.

    Args:
        model: one that `native_weights.refusal` has nothing against.
    """

    def __init__(self, model: Any) -> None:
        self.weights = Weights.read(model)
        self.attention: SharedPromptAttention

    def prefill(self, prompts: Sequence[Sequence[int]], owners: list[int], room: int) -> Tensor:
        """Begin a batch.

        Args:
            prompts: distinct prompts, none empty; each is computed once.
            owners: prompt of each row, rows of one prompt adjacent.
            room: most tokens any row will be given to go on.

        Returns:
            (rows, hidden) states that the first tokens are chosen from.
        """
        lengths = [len(prompt) for prompt in prompts]
        heads, embedding = self.weights.heads, self.weights.embedding
        turns = self.weights.turns(max(lengths) + room)
        layers = len(self.weights.blocks)
        stored = embedding.new_zeros(layers, 2 * heads.key, len(prompts), max(lengths), heads.size)
        states = [
            self._prefill(prompts[start:stop], turns, stored[:, :, start:stop])
            for start, stop in _slices(lengths, _PREFILL_TOKENS)
        ]
        self.attention = SharedPromptAttention(stored, lengths, owners, turns, heads)
        return torch.cat(states).index_select(0, torch.tensor(owners, device=embedding.device))

    def advance(self, tokens: Tensor) -> Tensor:
        """(rows,) tokens -> (rows, hidden) states that the next ones are chosen from."""
        attention = self.attention
        attention.begin()
        x = F.embedding(tokens, self.weights.embedding)
        for index, block in enumerate(self.weights.blocks):
            x = block.mix.plus(attention.attend(index, self._project(block, x)), x)
            x = self._feed_forward(block, x)
        return x

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows alone; they must be rising."""
        self.attention.keep(rows)

    def logits(self, states: Tensor) -> Tensor:
        """(rows, hidden) -> (rows, V)."""
        return self.weights.head(self._normed(states).mul_(self.weights.last_norm))

    def _prefill(self, prompts: Sequence[Sequence[int]], turns: Tensor, stored: Tensor) -> Tensor:
        """(n, hidden) states at the last token of n prompts, whose keys and values go into `stored`."""
        heads, device = self.weights.heads, turns.device
        ids = torch.tensor(padded(prompts, 0)[0], device=device)
        count, width = ids.shape
        turn = turns[:width].unsqueeze(1)
        x = F.embedding(ids.flatten(), self.weights.embedding)
        for index, block in enumerate(self.weights.blocks):
            parts = self._project(block, x).view(count, width, -1, heads.size)
            pairs = torch.view_as_complex(parts[:, :, : heads.query + heads.key].unflatten(-1, (-1, 2)))
            turned = torch.view_as_real(pairs * turn).flatten(-2)
            query, key = turned.transpose(1, 2).split((heads.query, heads.key), 1)
            value = parts[:, :, heads.query + heads.key :].transpose(1, 2)
            stored[index, : heads.key, :, :width] = key.transpose(0, 1)
            stored[index, heads.key :, :, :width] = value.transpose(0, 1)
            # prompts are padded behind, so that no token of a prompt sees padding
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=heads.shared > 1)
            x = block.mix.plus(mixed.transpose(1, 2).reshape(count * width, -1), x)
            x = self._feed_forward(block, x)
        last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
        return x.view(count, width, -1)[torch.arange(count, device=device), last]

    def _project(self, block: Block, x: Tensor) -> Tensor:
        projected = block.project(self._normed(x))
        if block.head_norm is not None:
            normed = projected.view(len(x), -1, self.weights.heads.size)[:, : len(block.head_norm)]
            length = torch.linalg.vector_norm(normed, dim=-1, keepdim=True)
            normed.div_(length.hypot_(self.weights.head_floor)).mul_(block.head_norm)
        return projected

    def _feed_forward(self, block: Block, x: Tensor) -> Tensor:
        normed = self._normed(x)
        return block.down.plus(block.up.times(normed, block.gate.silu(normed)), x)

    def _normed(self, x: Tensor) -> Tensor:
        """Rows over the root of their squares' sum and epsilon; the weight of the norm is in what follows."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x / length.hypot_(self.weights.floor)


def _slices(lengths: list[int], tokens: int) -> list[tuple[int, int]]:
    """Runs of neighbouring prompts that hold about so many tokens when padded, at least one prompt each."""
    slices, start = [], 0
    for stop in range(1, len(lengths) + 1):
        wider = stop < len(lengths) and max(lengths[start : stop + 1]) * (stop + 1 - start) > tokens
        if wider or stop == len(lengths):
            slices.append((start, stop))
            start = stop
    return slices
