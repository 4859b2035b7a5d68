"""Random numbers of a completion that do not depend on how many processes sample, nor on the completions beside it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass
class CompletionSeeds:
    """One seed for each completion: of the run's seed, the optimizer step, the call in this step and the place in the rollout.

    Args:
        seed: of the run.
    """

    seed: int
    _step: int = -1
    _call: int = 0

    def draw(self, step: int, first: int, count: int) -> list[int]:
        """Seeds of one call of the engine.

        Args:
            step: optimizer steps that were made.
            first: place of this process's first completion among those of all processes.
            count: completions of this process.
        """
        self._call = self._call + 1 if step == self._step else 0
        self._step = step
        return [_hashed(f"{self.seed} {step} {self._call} {place}") for place in range(first, first + count)]


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())
