"""The mask that keeps every completion token."""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.algorithms.protocols import Mask


@dataclass(frozen=True)
class AllTokens(Mask):
    """Every completion token learns."""
