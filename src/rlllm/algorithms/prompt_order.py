"""The order of a sampler in TRL's layout of groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from rlllm.algorithms._trl import RepeatSampler
from rlllm.algorithms.protocols import Sampler


class EpochPromptSampler(torch.utils.data.Sampler[int]):
    """Feeds a sampler's order through TRL's group layout.

    TRL's own sampler advances a private generator that no checkpoint holds: resumed in a second epoch it repeats the first.

    Args:
        order: the slot component.
        rows: size of the dataset.
        seed: the run's seed.
        layout: the arguments of TRL's `RepeatSampler` besides its data (group size, prompts a batch, repeats).
    """

    def __init__(self, order: Sampler, rows: int, seed: int, layout: dict[str, Any]) -> None:
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
