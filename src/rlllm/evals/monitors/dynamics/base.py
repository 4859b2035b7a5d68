"""What a monitor of training dynamics is: it reads the logged steps of a run in their order, and may speak once.

A monitor computes from what stands in `metrics.jsonl`, `samples.jsonl` and `evaluations.jsonl` alone. A resumed run gives it
the rows that are there before the first new step, so that what it says does not depend on how often a run was resumed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What a monitor knows of a run before its first step."""

    steps: int
    """Optimizer steps that the run was asked for."""
    vocabulary: int = 0
    """Tokens of the model; 0 where it writes none, as a scalar reward model."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """TRL's settings as they are used, such as `beta` and `max_grad_norm`."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Display name -> weight of each reward of a run that samples, the first of which decides what passes; empty for others."""

    def first_reward(self, values: Mapping[str, float]) -> float | None:
        """Mean of the first reward in a logged step."""
        name = next(iter(self.weights), None)
        return None if name is None else values.get(f"rewards/{name}/mean")

    @property
    def samples(self) -> bool:
        """Whether the run learns from completions that it samples. Its loss is near 0 by definition, and says little."""
        return bool(self.weights)

    @property
    def uniform_loss(self) -> float:
        """Cross-entropy of a model for which all tokens are equally likely, ln V; infinite where the model writes none."""
        return math.log(self.vocabulary) if self.vocabulary > 1 else math.inf


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One logged step, with what came since the one before."""

    step: int
    values: Mapping[str, float]
    """The row of `metrics.jsonl`, without what is no finite number."""
    completions: Sequence[Mapping[str, Any]] = ()
    """Rows of `samples.jsonl`."""
    evaluations: Sequence[Mapping[str, Any]] = ()
    """Rows of `evaluations.jsonl`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a monitor says.

    Args:
        onset: first step of what was seen.
        evidence: the numbers, as a clause: "the entropy fell from 0.31 to 0.01 nats a token".
        cause: what brings this about, as a clause.
        hint: what to do next.
    """

    onset: int
    evidence: str
    cause: str
    hint: str


class Monitor(ABC):
    """Reads a run step by step.

    Args:
        facts: what is known before the first step.
    """

    name: ClassVar[str]
    """Code of the reason that the verdict names; what the setting `allow` takes."""
    summary: ClassVar[str]
    """What is wrong, in one line for listings."""
    ends: ClassVar[bool] = False
    """Whether a finding means that the run is worthless: it ends there, and fails."""

    def __init__(self, facts: TrainingFacts) -> None:
        self.facts = facts

    @abstractmethod
    def observe(self, step: LoggedStep) -> Finding | None:
        """Take in one logged step. Not called again after a finding."""


WINDOW = 5
"""Logged steps at the end of which a mean is taken, where a monitor does not say otherwise."""
BASELINE = 3
"""Logged steps at the start of a run with which the last ones are compared."""


class Trace:
    """One number over the logged steps: its mean over the first steps, and over the last.

    Args:
        last: steps of the last mean.
        first: steps of the first mean.
    """

    def __init__(self, last: int = WINDOW, first: int = BASELINE) -> None:
        self._first: list[float] = []
        self._last: deque[tuple[int, float]] = deque(maxlen=last)
        self._size = first

    def add(self, step: int, value: float | None) -> bool:
        """Take in a value; returns whether both means are known. None and what is not finite is left out."""
        if value is None or not math.isfinite(value):
            return False
        if len(self._first) < self._size:
            self._first.append(value)
        self._last.append((step, value))
        return self.full

    @property
    def full(self) -> bool:
        """Whether both means are known."""
        return len(self._first) == self._size and len(self._last) == self._last.maxlen

    @property
    def first(self) -> float:
        """Mean of the first steps."""
        return sum(self._first) / len(self._first)

    @property
    def last(self) -> float:
        """Mean of the last steps."""
        return sum(value for _, value in self._last) / len(self._last)

    @property
    def lowest(self) -> float:
        """Smallest of the last values."""
        return min(value for _, value in self._last)

    @property
    def onset(self) -> int:
        """First of the last steps."""
        return self._last[0][0]
