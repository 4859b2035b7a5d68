"""Random numbers of dialogues."""

from __future__ import annotations


def uniform(count: int) -> list[float]:
    """Numbers in [0, 1) of torch's generator, whose state a checkpoint holds."""
    import torch

    return torch.rand(count).tolist()
