"""Masks: which completion tokens learn. A mask is a subset of `batch.learnable`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlllm.algorithms.slots.batch import RolloutBatch


@dataclass(frozen=True)
class All:
    """Every completion token learns."""

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.learnable


@dataclass(frozen=True)
class RandomTokens:
    """A random share of each batch's tokens learns: the control for every mask that claims to pick the right ones.

    Drawn from the global RNG, so that a resumed run draws what the uninterrupted one would have drawn.
    """

    fraction: float = 0.2

    def __call__(self, batch: RolloutBatch) -> Tensor:
        drawn = torch.rand(batch.learnable.shape, device=batch.learnable.device) < self.fraction
        return batch.learnable * drawn
