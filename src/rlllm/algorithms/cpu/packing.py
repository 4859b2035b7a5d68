"""Several completions of one prompt in one row, so that a pass computes hardly any padding.

Each sees the prompt and itself, at the positions it has when it stands alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_WORTHWHILE = 0.95
"""Share of the cost of one row a completion above which packing is not worth its bookkeeping."""
_MOST_ROWS = 8
"""Rows of one prompt whose even filling suggests a width."""
_TRIES = 6
"""Widths for which the rows are really filled."""


@dataclass(frozen=True)
class Layout:
    """Where each of B completions lies in R rows of `width` slots. Integer tensors (n,), one entry for every token."""

    width: int
    prompts: Tensor
    """(R,) the prompt of each row."""
    owner: Tensor
    """The completion of each token."""
    step: Tensor
    """Its place in that completion."""
    row: Tensor
    slot: Tensor

    def pack(self, values: Tensor, fill: int) -> Tensor:
        """(B, T) by completion to (R, width) by row."""
        packed = values.new_full((len(self.prompts), self.width), fill)
        packed[self.row, self.slot] = values[self.owner, self.step]
        return packed

    def unpack(self, values: Tensor, rows: int, columns: int) -> Tensor:
        """(R, width) by row to (B, T) by completion, zeros where it has no token."""
        unpacked = values.new_zeros(rows, columns)
        return unpacked.index_put((self.owner, self.step), values[self.row, self.slot])

    def attention(self, prompts: Tensor, dtype: torch.dtype) -> Tensor:
        """(R, 1, width, P + width), 0 where a token looks and the lowest number where it does not.

        Args:
            prompts: (D, P) 0/1 mask of the distinct prompts.
            dtype: of the model's activations.
        """
        owner = torch.full((len(self.prompts), self.width), -1)
        owner[self.row, self.slot] = self.owner
        causal = torch.ones(self.width, self.width, dtype=torch.bool).tril()
        own = (owner.unsqueeze(2) == owner.unsqueeze(1)) & causal
        before = prompts[self.prompts].bool().unsqueeze(1).expand(-1, self.width, -1)
        seen = torch.cat([before, own], dim=2).unsqueeze(1)
        return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)


def layout(lengths: Sequence[int], prompts: Sequence[int], price: float, prefix: int) -> Layout | None:
    """The cheapest way to lay completions side by side, or None where one row each costs about the same.

    Args:
        lengths: tokens of each completion, at least 1.
        prompts: number of each completion's prompt.
        price: of attending to one more token, where passing one token through the layers costs 1.
        prefix: tokens of a prompt.
    """
    longest, best, cheapest = max(lengths), float("inf"), None

    def cost(rows: int, width: int) -> float:
        return rows * width * (1 + price * (prefix + width))

    for capacity in _capacities(lengths, prompts, cost):
        rows = _filled(lengths, prompts, capacity)
        width = max(sum(lengths[index] for index in row) for row in rows)
        if cost(len(rows), width) < best:
            best, cheapest = cost(len(rows), width), rows
    if cheapest is None or best > _WORTHWHILE * cost(len(lengths), longest):
        return None
    return laid_out(cheapest, lengths, prompts)


def _capacities(lengths: Sequence[int], prompts: Sequence[int], cost: Callable[[int, int], float]) -> list[int]:
    """Row widths worth trying: those that would cost least if rows could be filled to the last slot."""
    totals: dict[int, int] = defaultdict(int)
    for length, prompt in zip(lengths, prompts, strict=True):
        totals[prompt] += length
    longest = max(lengths)
    even = (-(-total // rows) for total in totals.values() for rows in range(1, _MOST_ROWS + 1))
    widths = {int(slack * width) for width in (longest, *even) if width >= longest for slack in (1.0, 1.05)}

    def bound(width: int) -> float:
        return cost(sum(-(-total // width) for total in totals.values()), width)

    return sorted(widths, key=lambda width: (bound(width), width))[:_TRIES]


def _filled(lengths: Sequence[int], prompts: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of completions of one prompt each: first fit, longest first."""
    rows: dict[int, list[tuple[int, list[int]]]] = {}
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        own = rows.setdefault(prompts[index], [])
        for place, (used, row) in enumerate(own):
            if used + lengths[index] <= capacity:
                row.append(index)
                own[place] = used + lengths[index], row
                break
        else:
            own.append((lengths[index], [index]))
    return [row for prompt in sorted(rows) for _, row in rows[prompt]]


def laid_out(rows: Sequence[Sequence[int]], lengths: Sequence[int], prompts: Sequence[int]) -> Layout:
    """The layout of given rows of completions; arguments as for `layout`."""
    order = torch.tensor([index for row in rows for index in row])
    sizes = torch.tensor([lengths[index] for row in rows for index in row])
    row = torch.repeat_interleave(torch.tensor([sum(lengths[i] for i in row) for row in rows]))
    owner = torch.repeat_interleave(order, sizes)
    ends = sizes.cumsum(0)
    step = torch.arange(len(owner)) - torch.repeat_interleave(ends - sizes, sizes)
    first = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(row).cumsum(0)])
    slot = torch.arange(len(owner)) - first[row]
    width = int(torch.bincount(row).max())
    return Layout(width, torch.tensor([prompts[row[0]] for row in rows]), owner, step, row, slot)
