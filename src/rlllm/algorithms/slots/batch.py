"""`RolloutBatch`: the one value that travels through the slots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class RolloutBatch:
    """Completions of this process with their scores; groups are contiguous and whole.

    B rows, P prompt tokens, T completion tokens, R rewards, G completions a group.
    """

    prompt_ids: Tensor
    """(B, P) int, padded on the left."""
    prompt_mask: Tensor
    """(B, P) 0/1."""
    completion_ids: Tensor
    """(B, T) int, padded on the right."""
    learnable: Tensor
    """(B, T) 0/1: real completion tokens that may learn."""
    group_size: int
    """G."""
    rewards: Tensor
    """(B, R) float; NaN where a reward could not judge."""
    weights: Tensor
    """(R,) float."""
    advantages: Tensor
    """(B,) float: TRL's own group-relative advantages under `scale_rewards`."""
    columns: list[dict[str, Any]]
    """The rows' own columns."""

    @cached_property
    def total(self) -> Tensor:
        """(B,) weighted sum of the rewards that judged; NaN where none did."""
        total = (self.rewards * self.weights).nansum(dim=1)
        return total.masked_fill(self.rewards.isnan().all(dim=1), torch.nan)

    @cached_property
    def grouped(self) -> Tensor:
        """(B / G, G) view of `total`."""
        return self.total.view(-1, self.group_size)
