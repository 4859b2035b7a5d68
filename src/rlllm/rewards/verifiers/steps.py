"""The `steps` reward: the share of a completion's worked steps that hold, paid for a right answer only.

A long chain of thought can be wrong on its way to a right answer, or right by a lucky guess. Which equations are steps, and
which prove nothing and do not count, is said in `parsing.steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import Sample, Score, prompt_text
from rlllm.parsing.steps import share_that_hold, worked_steps
from rlllm.rewards.bound import BoundReward

_AGGREGATES = ("share", "all")


@dataclass(frozen=True)
class Steps:
    """The share of the worked steps (`12 + 7 = 19`) that hold, 0 of a wrong answer; None where fewer than `fewest` count.

    Never more than 1, which a right answer is worth by itself. Steps that prove nothing (`7 = 7`, repeated ones, true equations
    of other numbers than the question's) do not count, and a wrong answer gets nothing for true steps, so that true equations
    alone earn nothing. Beside a right answer they can still dilute a false step; `aggregate: all` rules that out.

    Args:
        reward: the correctness reward; in a recipe its name, or a mapping with its arguments (default `exact`). Where it gives
            less than 1, this gives 0, and where it cannot judge, neither can this. null: steps are paid whatever the answer.
        fewest: steps that are needed to judge.
        aggregate: `share`, or `all`: 1 if every step holds, else 0.
    """

    reward: BoundReward | None
    fewest: int = 1
    aggregate: str = "share"
    inner_rewards: ClassVar[Mapping[str, str | None]] = {"reward": "exact"}
    verifies = False

    def __post_init__(self) -> None:
        if self.fewest < 1:
            raise ConfigError("steps: fewest is at least 1", given=f"fewest={self.fewest}")
        if self.aggregate not in _AGGREGATES:
            raise unknown("aggregate of the reward steps", self.aggregate, _AGGREGATES)

    @property
    def deadline(self) -> float | None:
        """Seconds for one sample: those of the correctness reward."""
        return self.reward.deadline if self.reward else None

    @property
    def score_batch(self) -> Callable[[Sequence[Sample]], list[Any]] | None:
        """Scores several samples; None where the correctness reward scores one by one, as this then does."""
        score_batch = self.reward.score_batch if self.reward else None
        if score_batch is None:
            return None
        return lambda samples: [
            self._judged(raw, sample) for raw, sample in zip(score_batch(samples), samples, strict=True)
        ]

    def __call__(self, sample: Sample) -> Any:
        if self.reward is None:
            return self._judged(Score(1.0), sample)
        assert self.reward.score_sample is not None
        return self._judged(self.reward.score_sample(sample), sample)

    def _judged(self, raw: Any, sample: Sample) -> Any:
        score = raw if isinstance(raw, Score) else Score(raw)
        if not isinstance(score.value, Real) or math.isnan(score.value):  # None cannot judge, the rest is an error
            return raw
        steps = worked_steps(sample.completion, prompt_text(sample.prompt))
        if len(steps) < self.fewest:
            return Score(None, note=f"{len(steps)} steps to check")
        share = share_that_hold(steps)
        assert share is not None
        if self.aggregate == "all":
            share = float(share == 1.0)
        false = next((step.text for step in steps if not step.holds), None)
        return Score(
            share if score.value >= 1 else 0.0,
            parsed=f"{sum(step.holds for step in steps)} of {len(steps)} steps hold",
            note=f"first false: {false}" if false else None,
        )
