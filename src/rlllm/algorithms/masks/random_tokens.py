"""A random mask: the control for masks that claim to choose the right tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Mask
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class RandomTokens(Mask):
    """A random share of each batch's tokens learns.

    Drawn from the global generator, so that a resumed run draws what the uninterrupted one would have drawn.
    """

    fraction: float = 0.2
    """Share of tokens that learn."""

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ConfigError("mask random: fraction is a share of the tokens, from 0 to 1", given=self.fraction)

    def __call__(self, batch: RolloutBatch) -> Tensor:
        import torch

        chosen = torch.rand(batch.loss_mask.shape, device=batch.loss_mask.device) < self.fraction
        return batch.loss_mask * chosen
