"""Log-probabilities and entropies as the trainer computes them on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms.cpu.fast_path import FastPath


def completion_logps(
    model: Any, ids: Tensor, mask: Tensor, keep: int, temperature: float, *, share: bool = False
) -> tuple[Tensor, Tensor]:
    """(B, keep) log-probabilities and entropies of the last `keep` tokens."""
    passes = FastPath(onednn=False, one_process=True).passes(model, ids, mask, keep, temperature, share=share)
    columns = [tuple(part.restore(values) for values in part.view.chosen) for part in passes]
    logps, entropies = (torch.cat(column) for column in zip(*columns, strict=True))
    return logps, entropies
