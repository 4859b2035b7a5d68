"""A band of pass rates: prompts known to be too hard or too easy give way to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.protocols import Sampler
from rlllm.algorithms.samplers.pass_rates import PassRates
from rlllm.algorithms.samplers.prompt_stream import Stream
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class PassBand(Sampler):
    """Prompts known to be too hard or too easy give way to others: a band of pass rates.

    A prompt outside the band is asked again every `revisit`-th time it comes up, since the policy changes.
    """

    low: float = 0.1
    """Pass rate below which a prompt is too hard."""
    high: float = 0.9
    """Pass rate above which it is too easy."""
    patience: int = 1
    """Rollouts of a prompt before its pass rate counts as known."""
    revisit: int = 4
    """Times a prompt comes up until it is asked although it lies outside the band."""
    threshold: float = 0.5
    """Reward from which a completion passes."""
    reward: str = ""
    """Name of the reward that decides what passes. Default: the run's first reward that verifies."""
    rates: PassRates = field(init=False)
    stream: Stream = field(init=False, default_factory=Stream)
    skipped: dict[int, int] = field(init=False, default_factory=dict)
    """Row -> times it gave way since it was asked last."""

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1 or self.patience < 1 or self.revisit < 1:
            raise ConfigError(
                "sampler band: 0 <= low < high <= 1, and patience and revisit are at least 1",
                given=f"low={self.low} high={self.high} patience={self.patience} revisit={self.revisit}",
            )
        self.rates = PassRates(self.threshold)

    def begin(self, rows: int, seed: int) -> None:
        self.stream = Stream(rows, seed)

    def inside(self, row: int) -> bool:
        """Whether a prompt may lie in the band: it does, or too little is known of it."""
        rate, visits = self.rates.seen.get(row, (0.0, 0))
        return visits < self.patience or self.low <= rate <= self.high

    def propose(self, rows: Sequence[int]) -> list[int]:
        chosen, taken = [], set(rows)
        for row in rows:
            other = None
            if not self.inside(row) and self.skipped.get(row, 0) + 1 < self.revisit:
                other = self.stream.take(lambda row: row not in taken and self.inside(row))
            if other is None:
                self.skipped.pop(row, None)
                chosen.append(row)
                continue
            self.skipped[row] = self.skipped.get(row, 0) + 1
            taken.add(other)
            chosen.append(other)
        return chosen

    def observe(self, rows: Sequence[int], rewards: Tensor) -> None:
        self.rates.observe(rows, rewards)

    @property
    def metrics(self) -> dict[str, float]:
        """For the log: the share of all prompts known to lie outside the band."""
        outside = sum(not self.inside(row) for row in self.rates.seen)
        return {"sampling/outside_band": outside / max(self.stream.rows, 1)}

    def state_dict(self) -> dict[str, Any]:
        state = {"cursor": self.stream.cursor, "skipped": [list(pair) for pair in self.skipped.items()]}
        return {**self.rates.state_dict(), **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rates.load_state_dict(state)
        self.stream.cursor = state["cursor"]
        self.skipped = dict(state["skipped"])
