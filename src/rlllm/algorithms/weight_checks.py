"""Checks of the trained weights: whether any changed, and whether all are finite. Each reads every parameter once."""

from __future__ import annotations

from typing import Any

import torch

from rlllm.policies.sharded_weights import own_part, whole_tensor

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(model: Any) -> list[int]:
    """One integer for each trainable parameter: the sum of its bit patterns. Any single changed weight changes it.

    Collective, where the weights are spread over processes.
    """
    return [
        int(whole_tensor(parameter).contiguous().view(_WORDS[parameter.element_size()]).sum(dtype=torch.int64))
        for parameter in model.parameters()
        if parameter.requires_grad
    ]


def finite(model: Any) -> bool:
    """Whether every parameter is a finite number, of those that this process has."""
    return all(bool(own_part(parameter).isfinite().all()) for parameter in model.parameters())
