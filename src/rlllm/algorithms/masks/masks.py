"""Masks: which completion tokens learn. A mask is a subset of `batch.loss_mask`.

Torch is imported when the first rollout is masked, so that a plan can read a mask's `settings` without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class All:
    """Every completion token learns."""

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.loss_mask


@dataclass(frozen=True)
class RandomTokens:
    """A random share of each batch's tokens learns: the control for every mask that claims to pick the right ones.

    Drawn from the global RNG, so that a resumed run draws what the uninterrupted one would have drawn.
    """

    fraction: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ConfigError("mask random: fraction is a share of the tokens, from 0 to 1", given=self.fraction)

    def __call__(self, batch: RolloutBatch) -> Tensor:
        import torch

        drawn = torch.rand(batch.loss_mask.shape, device=batch.loss_mask.device) < self.fraction
        return batch.loss_mask * drawn


@dataclass(frozen=True)
class TopEntropy:
    """The tokens of highest entropy learn (Wang et al. 2025, arXiv 2506.01939).

    TRL picks them anew in every forward pass of the loss, out of the completion tokens of that pass, and still divides by
    the number of all tokens; what this mask does is to set it so.
    """

    fraction: float = 0.2
    """Share of tokens that learn."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ConfigError("mask entropy: fraction is above 0 and at most 1", given=self.fraction)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"top_entropy_quantile": self.fraction}

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.loss_mask


@dataclass(frozen=True)
class EntropyTop20:
    """`TopEntropy` at the paper's share, as a name without fields."""

    settings: ClassVar[Mapping[str, Any]] = TopEntropy(0.2).settings

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.loss_mask
