"""An endless order of prompts, for samplers that draw further ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Stream:
    """An endless order of prompts: pass after pass over the data, each in an order of its own."""

    rows: int = 0
    seed: int = 0
    cursor: int = 0
    """Prompts read so far; with seed and rows, all there is to know."""
    _pass: tuple[int, list[int]] = (-1, [])

    def next(self) -> int:
        turn, place = divmod(self.cursor, self.rows)
        if self._pass[0] != turn:
            order = random.Random(f"prompts {self.seed} {turn}").sample(range(self.rows), self.rows)
            self._pass = turn, order
        self.cursor += 1
        return self._pass[1][place]

    def take(self, wanted: Callable[[int], bool]) -> int | None:
        """The next prompt that is wanted, within one pass; None if there is none."""
        for _ in range(self.rows):
            row = self.next()
            if wanted(row):
                return row
        return None
