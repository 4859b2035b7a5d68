"""A sampler whose weights are some steps old, as in asynchronous training, with a bound on how many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FILE = "sampler.safetensors"
"""In a checkpoint: the weights that sample, where they are older than those that train."""


@dataclass
class StaleSampler:
    """Keeps a copy of the weights that learn, and renews it when it would be older than `staleness` optimizer steps.

    The copy takes the place of the weights while completions are sampled, so that every engine samples from it.
    """

    staleness: int
    """Optimizer steps that a completion's weights may be behind; 0 keeps no copy."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Name of a parameter that learns -> its numbers at `step`."""
    step: int = -1
    """Optimizer steps that had been made when the copy was taken; -1 before there is one."""

    @contextmanager
    def sampling(self, model: Any, step: int) -> Iterator[int]:
        """Have the model hold the copy; yields how many steps old that is.

        Args:
            model: the policy, unwrapped.
            step: optimizer steps made so far.
        """
        if self.step < 0 or step - self.step > self.staleness:
            self.weights = {name: part.detach().clone() for name, part in _learning(model).items()}
            self.step = step
        age = step - self.step
        if not age:
            yield 0
            return
        self._exchange(model)
        try:
            yield age
        finally:
            self._exchange(model)

    def _exchange(self, model: Any) -> None:
        """Swap the model's numbers and the copy's; nothing is copied."""
        for name, parameter in _learning(model).items():
            parameter.data, self.weights[name] = self.weights[name], parameter.data

    def save(self, folder: Path) -> None:
        """Write the copy into a checkpoint, if there is one."""
        if self.step < 0:
            return
        from safetensors.torch import save_file

        numbers = {name: part.contiguous() for name, part in self.weights.items()}
        save_file(numbers, str(folder / FILE), metadata={"step": str(self.step)})

    def load(self, folder: Path, device: torch.device) -> None:
        """Read the copy from a checkpoint; one without leaves the sampler to take a new one."""
        from safetensors import safe_open

        if not (folder / FILE).is_file():
            return
        with safe_open(str(folder / FILE), framework="pt", device=str(device)) as file:
            self.step = int(file.metadata()["step"])
            self.weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _learning(model: Any) -> Mapping[str, Any]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
