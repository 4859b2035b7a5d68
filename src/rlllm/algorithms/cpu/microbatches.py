"""How to cut a micro-batch into parts: similar lengths together, completions of one prompt together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OVERHEAD = 5e8
"""Cost of one more part, in tokens times parameters: fixed for a small model, next to nothing for a large one."""
_MOST_CUTS = 64
"""Places considered for a cut; more would cost more to weigh than they save."""


@dataclass(frozen=True)
class Costs:
    """What a part costs, counted in tokens.

    Args:
        overhead: of a part.
        prefix: of every distinct prompt of a part, passed once for its rows.
        largest: completion tokens a part may have, padding counted; a row longer than that is a part of its own.
        packed: whether a part's completions lie side by side, without padding.
    """

    overhead: float
    prefix: int = 0
    largest: float = float("inf")
    packed: bool = False


def partition(lengths: Sequence[int], prompts: Sequence[int], costs: Costs) -> list[list[int]]:
    """Cut rows into parts so that padding, prompts and the parts' overhead cost least.

    Rows are laid out by length, or by prompt and then length, whichever comes out cheaper.

    Args:
        lengths: completion tokens of each row.
        prompts: number of each row's prompt.
        costs: see there.

    Returns:
        Row indices of each part; every row once.
    """
    rows = range(len(lengths))
    orders = [sorted(rows, key=lambda row: -lengths[row])]
    if costs.prefix and len(set(prompts)) > 1:
        longest = {prompt: max(lengths[row] for row in rows if prompts[row] == prompt) for prompt in set(prompts)}
        orders.append(sorted(rows, key=lambda row: (-longest[prompts[row]], prompts[row], -lengths[row])))
    return min((_cut(order, lengths, prompts, costs) for order in orders), key=lambda found: found[0])[1]


def _cut(
    order: list[int], lengths: Sequence[int], prompts: Sequence[int], costs: Costs
) -> tuple[float, list[list[int]]]:
    """Cost and parts of the best cut of rows in this order (dynamic programming over the places to cut)."""
    stride = -(-len(order) // _MOST_CUTS)
    if costs.largest != float("inf"):
        stride = max(1, min(stride, int(costs.largest) // max(*lengths, 1)))
    places = [*range(0, len(order), stride), len(order)]
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(places)):
        choices: list[tuple[float, int]] = []
        longest, filled, seen = 0, 0, set[int]()
        for first in range(end - 1, -1, -1):
            for row in order[places[first] : places[first + 1]]:
                longest = max(longest, lengths[row])
                filled += lengths[row]
                seen.add(prompts[row])
            passed = filled if costs.packed else (places[end] - places[first]) * longest
            if passed > costs.largest and choices:
                break
            choices.append((best[first][0] + passed + len(seen) * costs.prefix + costs.overhead, first))
        best.append(min(choices))
    parts, end = [], len(places) - 1
    while end:
        first = best[end][1]
        parts.append(order[places[first] : places[end]])
        end = first
    return best[-1][0], parts
