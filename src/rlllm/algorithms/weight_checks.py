"""Checks of the trained weights: whether any changed, and whether all are finite. Each reads every parameter once."""

from __future__ import annotations

from typing import Any

import torch

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(model: Any) -> list[int]:
    """One integer for each trainable parameter: the sum of its bit patterns. Any single changed weight changes it."""
    return [
        int(parameter.detach().contiguous().view(_WORDS[parameter.element_size()]).sum(dtype=torch.int64))
        for parameter in model.parameters()
        if parameter.requires_grad
    ]


def finite(model: Any) -> bool:
    """Whether every parameter is a finite number."""
    return all(bool(parameter.isfinite().all()) for parameter in model.parameters())
