"""Regret matching over two actions, in a table with one row for each key.

Hart & Mas-Colell 2000: an action is played in proportion to its positive regret. The values of both actions are known at every
visit, so that regrets need no importance weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Visits = Mapping[str, tuple[int, float, float]]
"""Key -> number of visits, and the sums of the values of not acting and of acting at these visits."""


@dataclass
class _Row:
    regrets: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Sum over visits of each action's value minus the policy's."""
    weights: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """What the policy is in proportion to, where positive: the regrets, or those clipped at 0 after each round."""
    played: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Sum over visits of the policy's probabilities."""
    visits: int = 0
    squares: int = 0
    """Sum over rounds of the squared number of visits."""


@dataclass
class RegretTable:
    """Two actions, 0 (not to act) and 1 (to act), by key.

    Args:
        plus: clips the sums that decide at 0 after each round (regret matching+, Tammelin 2014).
        span: largest difference of two values, for the bound.
    """

    plus: bool = False
    span: float = 2.0
    _rows: dict[str, _Row] = field(default_factory=dict, repr=False)

    def probability(self, key: str) -> float:
        """Of action 1 in the next round; 1/2 where no regret is positive."""
        weights = [max(weight, 0.0) for weight in self._rows.get(key, _Row()).weights]
        return weights[1] / sum(weights) if sum(weights) else 0.5

    def average(self, key: str) -> float:
        """Probability of action 1, averaged over all visits; 1/2 for a key that was never visited."""
        played = self._rows.get(key, _Row()).played
        return played[1] / sum(played) if sum(played) else 0.5

    def update(self, visits: Visits) -> None:
        """Count a round, in which the probabilities stayed the same."""
        for key, (count, *sums) in visits.items():
            if not count:
                continue
            row = self._rows.setdefault(key, _Row())
            acting = self.probability(key)
            mean = (1 - acting) * sums[0] + acting * sums[1]
            for action, probability in enumerate((1 - acting, acting)):
                row.regrets[action] += sums[action] - mean
                row.weights[action] += sums[action] - mean
                row.played[action] += count * probability
            if self.plus:
                row.weights = [max(weight, 0.0) for weight in row.weights]
            row.visits += count
            row.squares += count**2

    def regret(self, key: str) -> float:
        """Average regret: by how much a visit would have been worth more with the better action always."""
        row = self._rows.get(key)
        return max(0.0, *row.regrets) / row.visits if row else 0.0

    def bound(self, key: str) -> float:
        """What `regret` of a key with visits cannot exceed: span sqrt(2 sum n^2) / sum n, n the visits of a round."""
        row = self._rows[key]
        return self.span * math.sqrt(2 * row.squares) / row.visits

    def visits(self, key: str) -> int:
        return self._rows[key].visits if key in self._rows else 0

    @property
    def keys(self) -> list[str]:
        """Keys that were visited."""
        return sorted(self._rows)

    @property
    def average_regret(self) -> float:
        """Mean of `regret` over all visits; 0 before the first."""
        visits = sum(row.visits for row in self._rows.values())
        return sum(self.regret(key) * self.visits(key) for key in self._rows) / visits if visits else 0.0

    def to_json(self) -> dict[str, Any]:
        return {key: vars(row) for key, row in self._rows.items()}

    @classmethod
    def from_json(cls, state: Mapping[str, Mapping[str, Any]], **settings: Any) -> RegretTable:
        """The table that `to_json` described."""
        return cls(**settings, _rows={key: _Row(**row) for key, row in state.items()})


def counted(visits: Iterable[tuple[str, float, float]]) -> dict[str, tuple[int, float, float]]:
    """Single visits (key, value of not acting, value of acting) as sums."""
    sums: dict[str, tuple[int, float, float]] = {}
    for key, *values in visits:
        count, *before = sums.get(key, (0, 0.0, 0.0))
        sums[key] = (count + 1, before[0] + values[0], before[1] + values[1])
    return sums
