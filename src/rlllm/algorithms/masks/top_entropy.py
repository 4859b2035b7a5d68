"""Masks by entropy: only the tokens at which the policy is least sure learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlllm.algorithms.protocols import Mask
from rlllm.core.errors import ConfigError


@dataclass(frozen=True)
class TopEntropy(Mask):
    """The tokens of highest entropy learn (Wang et al. 2025, arXiv 2506.01939).

    They are chosen anew in every forward pass of the loss, among the completion tokens of that pass, and the loss still
    divides by the number of all tokens. TRL does so under its setting `top_entropy_quantile`, which this mask sets; the
    mask itself keeps every token.
    """

    fraction: float = 0.2
    """Share of tokens that learn."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ConfigError("mask entropy: fraction is above 0 and at most 1", given=self.fraction)

    @property
    def trl_settings(self) -> Mapping[str, Any]:
        return {"top_entropy_quantile": self.fraction}
