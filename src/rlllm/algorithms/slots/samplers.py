"""Samplers: which prompts an epoch visits, in which order. Seeded by epoch, so that a resume lands on the same prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils.data import Sampler

from rlllm.algorithms._trl import RepeatSampler


class PromptSampler(Protocol):
    """Decides the order of prompts: a pure function of the number of rows, the seed and the epoch."""

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]: ...


@dataclass(frozen=True)
class Shuffle:
    """Every prompt once an epoch, in an order that depends on seed and epoch alone."""

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        return torch.randperm(rows, generator=generator).tolist()


@dataclass(frozen=True)
class InOrder:
    """Every prompt once an epoch, in the order of the data."""

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]:
        return list(range(rows))


class EpochSampler(Sampler[int]):
    """Feeds a `PromptSampler`'s order through TRL's group layout.

    TRL's own sampler advances a private generator that no checkpoint holds: resumed in a second epoch it repeats the first.

    Args:
        order: the slot component.
        rows: size of the dataset.
        seed: the run's seed.
        layout: the arguments of TRL's `RepeatSampler` besides its data (group size, prompts a batch, repeats).
    """

    def __init__(self, order: PromptSampler, rows: int, seed: int, layout: dict[str, Any]) -> None:
        self.order = order
        self.rows = rows
        self.seed = seed
        self.layout = layout
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def _layout(self) -> Any:
        return RepeatSampler(range(self.rows), shuffle=False, **self.layout)

    def __iter__(self) -> Iterator[int]:
        order = self.order(self.rows, self.seed, self.epoch)
        return (order[position] for position in self._layout())

    def __len__(self) -> int:
        return len(self._layout())
