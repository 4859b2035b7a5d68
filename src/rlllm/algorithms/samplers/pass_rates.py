"""The running pass rate of every prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class PassRates:
    """An exponential mean of every prompt's pass rate: the share of its completions that earn at least `threshold`."""

    threshold: float = 0.5
    keep: float = 0.7
    """Weight of what was known against a new rollout."""
    seen: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Row -> pass rate and number of rollouts."""

    def observe(self, rows: Sequence[int], rewards: Tensor) -> None:
        """Take up the (N, G) values of a reward of N prompts; groups without a defined reward are passed over."""
        for row, group in zip(rows, rewards.tolist(), strict=True):
            judged = [reward for reward in group if not math.isnan(reward)]
            if not judged:
                continue
            rate = sum(reward >= self.threshold for reward in judged) / len(judged)
            before, visits = self.seen.get(row, (rate, 0))
            self.seen[row] = self.keep * before + (1 - self.keep) * rate, visits + 1

    def state_dict(self) -> dict[str, Any]:
        return {"seen": [[row, rate, visits] for row, (rate, visits) in self.seen.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = {row: (rate, visits) for row, rate, visits in state["seen"]}
