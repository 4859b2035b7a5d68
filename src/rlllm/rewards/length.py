"""Rewards for the length of a completion: `length`, `overlong`, `cosine`, `budget` and `eos`.

`cosine` scales a correctness reward by the length. Each of the others is used beside a correctness reward, with a weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import Sample, Score
from rlllm.rewards.bound import BoundReward


def _length_of(sample: Sample) -> tuple[int, str]:
    """The completion's length and its unit: tokens, or characters where their number is not known."""
    return (len(sample.completion), "characters") if sample.tokens is None else (sample.tokens, "tokens")


@dataclass(frozen=True)
class Length:
    """0 within the budget, then falling linearly to -1 at `budget + buffer` and beyond.

    The soft overlong punishment of DAPO (Yu et al. 2025, arXiv 2503.14476, equation 13). Counts tokens, or characters
    for samples whose number of tokens is not known.

    Args:
        budget: longest completion that costs nothing.
        buffer: width of the slope; a quarter of the budget by default, as in the paper.
    """

    budget: int
    buffer: int | None = None
    penalty: ClassVar[bool] = True
    verifies = False

    def __post_init__(self) -> None:
        if self.budget < 0 or (self.buffer is not None and self.buffer < 0):
            raise ConfigError("length: budget and buffer cannot be negative", given=f"{self.budget}, {self.buffer}")

    def __call__(self, sample: Sample) -> Score:
        length, unit = _length_of(sample)
        buffer = self.budget // 4 if self.buffer is None else self.buffer
        excess = max(0, length - self.budget)
        share = min(1.0, excess / buffer) if buffer else float(excess > 0)
        return Score(-share if share else 0.0, parsed=f"{length} {unit}")


@dataclass(frozen=True)
class Overlong:
    """0 up to `limit - cache`, then falling linearly to -1 at `limit` and beyond. The same as `length`, with other arguments.

    The soft overlong punishment as DAPO states it (Yu et al. 2025, arXiv 2503.14476, equation 13). `limit` usually is
    `rollout.max_new_tokens`.

    Args:
        limit: length at and above which the reward is -1.
        cache: width of the slope; a fifth of the limit by default, as in the paper.
    """

    limit: int
    cache: int | None = None
    penalty: ClassVar[bool] = True
    verifies = False

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError("overlong: limit is above 0", given=self.limit)
        if not 0 <= self._cache <= self.limit:
            raise ConfigError("overlong: cache is between 0 and limit", given=f"limit={self.limit} cache={self.cache}")

    @property
    def _cache(self) -> int:
        return self.limit // 5 if self.cache is None else self.cache

    def __call__(self, sample: Sample) -> Score:
        return Length(self.limit - self._cache, self._cache)(sample)


_UNITS = ("tokens", "characters")


@dataclass(frozen=True)
class Cosine:
    """A correctness reward scaled by length: a right completion gets more the shorter it is, a wrong one the longer it is.

    Cosine reward (Yeo et al. 2025, arXiv 2502.03373): half a cosine wave from the first number of a pair, at length 0, to the
    second, at `limit`. TRL and ms-swift count tokens, open-r1 counts characters.

    Args:
        limit: length from which on every completion gets `exceeded`.
        reward: the correctness reward; in a recipe its name, or a mapping with its arguments (default `exact`). A score of 1
            or more means right; where it cannot judge a sample, this reward cannot either.
        correct: reward of a right completion of length 0, and of one just under `limit`.
        wrong: the same for a wrong completion.
        exceeded: reward of a completion of length `limit` or more. None: the second number of its pair, as in TRL.
        unit: `tokens`, or characters for samples whose number of tokens is not known; or always `characters`.
    """

    limit: int
    reward: BoundReward
    correct: tuple[float, float] = (2.0, 1.0)
    wrong: tuple[float, float] = (-10.0, 0.0)
    exceeded: float | None = -10.0
    unit: str = "tokens"
    inner_rewards: ClassVar[Mapping[str, str | None]] = {"reward": "exact"}
    verifies = False

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError("cosine: limit is above 0", given=self.limit)
        if self.unit not in _UNITS:
            raise unknown("unit of the reward cosine", self.unit, _UNITS)

    @property
    def deadline(self) -> float | None:
        """Seconds for one sample: those of the correctness reward."""
        return self.reward.deadline

    @property
    def score_batch(self) -> Callable[[Sequence[Sample]], list[Any]] | None:
        """Scores several samples; None where the correctness reward scores one by one, as this then does."""
        score_batch = self.reward.score_batch
        if score_batch is None:
            return None
        return lambda samples: [
            self._scaled(raw, sample) for raw, sample in zip(score_batch(samples), samples, strict=True)
        ]

    def __call__(self, sample: Sample) -> Any:
        assert self.reward.score_sample is not None
        return self._scaled(self.reward.score_sample(sample), sample)

    def _scaled(self, raw: Any, sample: Sample) -> Any:
        score = raw if isinstance(raw, Score) else Score(raw)
        if score.value is None or math.isnan(score.value):
            return raw
        length, unit = _length_of(sample) if self.unit == "tokens" else (len(sample.completion), self.unit)
        ends = self.correct if score.value >= 1 else self.wrong
        value = half_cosine(min(1.0, length / self.limit), *ends)
        if length >= self.limit and self.exceeded is not None:
            value = self.exceeded
        return Score(value, parsed=score.parsed, note=f"{score.value:g} at {length} {unit}")


def half_cosine(share: float, start: float, end: float) -> float:
    """From `start` at share 0 to `end` at share 1, along half a cosine wave."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Budget:
    """-alpha times the distance, in tokens, between the completion's length and the length that the prompt asks for.

    The length term of L1-Exact (Aggarwal and Welleck 2025, arXiv 2503.04697, equation 1). The prompt has to state the number.
    None where neither the row nor the recipe holds it, or where the number of tokens is not known.

    Args:
        tokens: the requested number of tokens, where it is the same for every row.
        column: column of the row that holds it otherwise.
        alpha: cost of a token too many or too few.
    """

    tokens: int | None = None
    column: str = "budget"
    alpha: float = 3e-4
    penalty: ClassVar[bool] = True
    verifies = False

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokens < 0:
            raise ConfigError("budget: tokens cannot be negative", given=self.tokens)

    def __call__(self, sample: Sample) -> Score:
        requested = sample.meta.get(self.column) if self.tokens is None else self.tokens
        if requested is None:
            return Score(None, note=f"the row has no column {self.column}")
        if sample.tokens is None:
            return Score(None, note="the number of tokens is not known")
        distance = abs(sample.tokens - int(requested))
        return Score(-self.alpha * distance if distance else 0.0, parsed=f"{sample.tokens} of {requested} tokens")


@dataclass(frozen=True)
class EosReward:
    """0 if the completion ended by itself, -1 if it hit the length limit.

    The "EOS trick" of PPO for language models (Huang et al. 2024, arXiv 2403.17031), as a reward with a weight and a
    column of its own. A text that no model was stopped at, such as one from a file, counts as ended.
    """

    penalty: ClassVar[bool] = True
    verifies = False

    def __call__(self, sample: Sample) -> Score:
        return Score(-1.0 if sample.truncated else 0.0)
