"""Samplers that only order the prompts of an epoch."""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.algorithms.protocols import Sampler


@dataclass(frozen=True)
class Shuffle(Sampler):
    """Every prompt once an epoch, in an order that depends on seed and epoch alone."""


@dataclass(frozen=True)
class InOrder(Sampler):
    """Every prompt once an epoch, in the order of the data."""

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]:
        return list(range(rows))
