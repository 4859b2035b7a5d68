"""Attention of many completions that share prompts: the keys and values of a prompt are read once for all its rows.

Rows stand in *slots*, `group` of them for each *block*, and a block is a prompt. Scores against the prompt are one matrix
product for a block (all its slots times the prompt's keys), scores against the row's own tokens one for a slot; one softmax
spans both. When rows leave and blocks become ragged, free slots only cost attention: everything else is computed for the
remaining rows only. Where sharing would read more than it saves, every row gets a block, and a copy of its prompt.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

_FIRST_COLUMNS = 32
"""Room for a completion's tokens at first; it doubles whenever it is full."""
_OUTLOOK = 64
"""Tokens a completion is thought to go on for, when layouts are compared."""


@dataclass(frozen=True)
class Heads:
    """Sizes of an attention layer: query heads, key (and value) heads, numbers a head."""

    query: int
    key: int
    size: int

    @property
    def shared(self) -> int:
        """Query heads that read one key head."""
        return self.query // self.key


@dataclass(frozen=True)
class Layout:
    """Where rows stand.

    Args:
        blocks: the stored prompt that each block reads.
        group: slots a block.
        slots: slot of each row, rising.
    """

    blocks: list[int]
    group: int
    slots: list[int]

    @classmethod
    def cheapest(cls, owners: list[int], prompt: int, columns: int) -> Layout:
        """The layout that reads the fewest keys for rows of the given prompts.

        Args:
            owners: stored prompt of each row, rows of one prompt adjacent.
            prompt: longest prompt in tokens.
            columns: tokens of the completions so far.
        """
        sizes = Counter(owners)
        group, columns = max(sizes.values()), columns + _OUTLOOK
        if len(sizes) * (prompt + group * columns) > len(owners) * (prompt + columns):
            return cls(list(owners), 1, list(range(len(owners))))
        starts = {owner: block * group for block, owner in enumerate(sizes)}
        taken: Counter[int] = Counter()
        slots = []
        for owner in owners:
            slots.append(starts[owner] + taken[owner])
            taken[owner] += 1
        return cls(list(sizes), group, slots)

    @property
    def size(self) -> int:
        """Slots, free ones included."""
        return len(self.blocks) * self.group


class SharedPromptAttention:
    """Keys and values of a batch that decodes, and attention over them.

    Args:
        prompts: (layers, 2 * key heads, N, P, size) keys, then values, of N prompts padded on the right to P tokens.
        lengths: tokens of each prompt.
        owners: prompt of each row, rows of one prompt adjacent.
        turns: (positions, size / 2) complex rotations by position, as many as any row can reach.
        heads: sizes of a layer.
    """

    def __init__(self, prompts: Tensor, lengths: list[int], owners: list[int], turns: Tensor, heads: Heads) -> None:
        self.prompts, self.heads, self.turns = prompts, heads, turns
        self.lengths = torch.tensor(lengths, device=prompts.device)
        self.columns = 0
        self.limit = len(turns) - max(lengths)
        self.own = prompts.new_empty(0)
        self._settle(Layout.cheapest(owners, prompts.size(3), 0), None)

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows alone; they must be rising."""
        slots = [self.layout.slots[row] for row in rows]
        owners = [slot // self.layout.group for slot in slots]
        layout = Layout.cheapest(owners, self.prompts.size(3), self.columns)
        came_from = [slots[0]] * layout.size
        for now, before in zip(layout.slots, slots, strict=True):
            came_from[now] = before
        self._settle(layout, torch.tensor(came_from, device=self.prompts.device))

    def begin(self) -> None:
        """Make room for the next token of every row, and what all layers need to know of it."""
        if self.columns == self.own.size(3):
            self._grow(None, min(self.limit, 2 * self.columns))
        heads, column = self.heads, self.columns
        turn = self.turns.index_select(0, self.starts + column).unsqueeze(1)
        self.query_turn = (turn * heads.size**-0.5).unsqueeze(1)
        self.own_turn[:, : heads.key] = turn
        self.columns = column = column + 1
        self.written = self.own_pairs[:, :, :, column - 1].transpose(1, 2).unbind(0)
        flat = self.own[:, :, :, :column].unflatten(1, (2, heads.key)).flatten(2, 3)
        self.own_keys = flat[:, 0].transpose(2, 3).unbind(0)
        self.own_values = flat[:, 1].unbind(0)

    def attend(self, layer: int, projected: Tensor) -> Tensor:
        """Attention of one layer for the token that `begin` announced.

        Args:
            layer: its index.
            projected: (rows, (query + 2 * key heads) * size) queries, keys and values, head after head, the two halves of
                a head interleaved.

        Returns:
            (rows, query heads * size).
        """
        heads, size, prompt = self.heads, self.layout.size, self.prompts.size(3)
        if self.gathered is not None:
            projected = projected.index_select(0, self.gathered)
        pairs = torch.view_as_complex(projected.view(size, heads.query + 2 * heads.key, -1, 2))
        queries = pairs[:, : heads.query].unflatten(1, (heads.key, heads.shared))
        torch.mul(queries, self.query_turn, out=self.turned)
        torch.mul(pairs[:, heads.query :], self.own_turn, out=self.written[layer])
        common = torch.bmm(self.block_queries, self.prompt_keys[layer])
        if self.padding is not None:
            common.add_(self.padding)
        own = torch.bmm(self.slot_queries, self.own_keys[layer])
        weights = torch.cat((common.view(len(own), heads.shared, prompt), own), -1).softmax(-1)
        by_block = weights.view(len(common), -1, weights.size(2))
        mixed = torch.bmm(by_block[:, :, :prompt], self.prompt_values[layer]).view(self.slot_queries.shape)
        mixed = mixed.baddbmm_(weights[:, :, prompt:], self.own_values[layer])
        mixed = mixed.view(heads.key, size, -1).transpose(0, 1).reshape(size, -1)
        return mixed if self.gathered is None else mixed.index_select(0, self.scattered)

    def _settle(self, layout: Layout, came_from: Tensor | None) -> None:
        """Take up a layout; `came_from` is the slot whose tokens each new slot goes on with."""
        heads, device, size = self.heads, self.prompts.device, layout.size
        self.layout = layout
        if layout.blocks != list(range(self.prompts.size(2))):
            blocks = torch.tensor(layout.blocks, device=device)
            self.lengths = self.lengths.index_select(0, blocks)
            # a prompt longer than all that are left is not carried along as padding
            self.prompts = self.prompts[:, :, :, : int(self.lengths.max())].index_select(2, blocks)
        flat = self.prompts.unflatten(1, (2, heads.key)).flatten(2, 3)
        self.prompt_keys = flat[:, 0].transpose(2, 3).unbind(0)
        self.prompt_values = flat[:, 1].unbind(0)
        self.padding = self._padding()
        self.starts = self.lengths.repeat_interleave(layout.group)
        self._gather(layout, device)
        queries = self.prompts.new_empty(heads.key, size, heads.shared, heads.size)
        self.turned = _as_pairs(queries).permute(1, 0, 2, 3)
        self.slot_queries = queries.view(heads.key * size, heads.shared, heads.size)
        self.block_queries = queries.view(heads.key * len(layout.blocks), layout.group * heads.shared, heads.size)
        self.own_turn = torch.ones(size, 2 * heads.key, heads.size // 2, dtype=self.turns.dtype, device=device)
        room = max(_FIRST_COLUMNS, 1 << self.columns.bit_length())
        self._grow(came_from, max(1, min(self.limit, room)))

    def _gather(self, layout: Layout, device: torch.device) -> None:
        self.gathered: Tensor | None = None
        if layout.size == len(layout.slots):
            return
        rows = [0] * layout.size  # a free slot computes the first row once more, and nobody looks
        for row, slot in enumerate(layout.slots):
            rows[slot] = row
        self.gathered = torch.tensor(rows, device=device)
        self.scattered = torch.tensor(layout.slots, device=device)

    def _padding(self) -> Tensor | None:
        """(key heads * blocks, 1, P) what is added to scores: minus infinity behind a prompt's end; None without any."""
        width = self.prompts.size(3)
        behind = torch.arange(width, device=self.prompts.device) >= self.lengths.unsqueeze(1)
        if not bool(behind.any()):
            return None
        added = self.prompts.new_zeros(behind.shape).masked_fill_(behind, -torch.inf)
        return added.repeat(self.heads.key, 1).unsqueeze(1)

    def _grow(self, came_from: Tensor | None, room: int) -> None:
        """Move the completions' keys and values to a buffer for `room` tokens, layer by layer."""
        layers, _, _, _, width = self.prompts.shape
        old, columns = self.own, self.columns
        self.own = self.prompts.new_empty(layers, 2 * self.heads.key, self.layout.size, room, width)
        for layer in range(layers if columns else 0):
            kept = old[layer, :, :, :columns]
            self.own[layer, :, :, :columns] = kept if came_from is None else kept.index_select(1, came_from)
        self.own_pairs = _as_pairs(self.own)


def _as_pairs(numbers: Tensor) -> Tensor:
    return torch.view_as_complex(numbers.unflatten(-1, (-1, 2)))
