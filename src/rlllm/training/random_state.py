"""Work between steps that draws random numbers, and leaves training as if it had not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def random_state_kept() -> Iterator[None]:
    """The generators of Python, NumPy and torch go on afterwards as if nothing had been drawn inside."""
    import random

    import numpy as np
    import torch

    accelerator = torch.accelerator.current_accelerator()
    devices = range(torch.accelerator.device_count()) if accelerator else ()
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices, device_type=accelerator.type if accelerator else "cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """The model in evaluation mode, and afterwards each of its modules in the mode that it had, as the random generators."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with random_state_kept():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
