"""Rewards for how a completion is written, not for what it answers: its length, its repetitions. No import beyond ours.

Except for `cosine`, which scales a correctness reward by the length, each is meant to stand beside one with a weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.binding import BoundReward, bind
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.verifiers.answers import Length, length_of


@dataclass(frozen=True)
class Overlong:
    """`length` named from its far end: 0 up to `limit - cache`, then falling linearly to -1 at `limit` and beyond.

    The soft overlong punishment as DAPO states it (Yu et al. 2025, arXiv 2503.14476, equation 13). `limit` usually is
    `rollout.max_new_tokens`.

    Args:
        limit: length from which on the completion costs 1.
        cache: width of the slope; a fifth of the limit by default, as in the paper.
    """

    limit: int
    cache: int | None = None

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


@dataclass(frozen=True)
class Cosine:
    """A correctness reward scaled by length: short beats long where right, long beats short where wrong.

    Cosine reward (Yeo et al. 2025, arXiv 2502.03373): half a cosine wave from the first number of a pair, at
    length 0, to the second, at `limit`. Counts tokens, or characters for samples whose number of tokens is not known.

    Args:
        limit: length from which on a completion is worth `exceeded`, right or wrong.
        reward: name, or mapping with arguments, of the reward that says what is right (1 or more). It scores samples one
            by one; where it cannot judge, neither can this.
        correct: worth of a right completion of length 0, and just under `limit`.
        wrong: the same of a wrong one.
        exceeded: worth of a completion that reaches `limit`.
    """

    limit: int
    reward: str | dict[str, Any] = "exact"
    correct: tuple[float, float] = (2.0, 1.0)
    wrong: tuple[float, float] = (-10.0, 0.0)
    exceeded: float = -10.0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError("cosine: limit is above 0", given=self.limit)
        if self._judge.one is None:
            raise ConfigError(
                f"cosine needs a reward that scores completions one by one, and {self._judge.name} scores batches",
                hint="exact, numeric, math, countdown and gym do",
            )

    @cached_property
    def _judge(self) -> BoundReward:
        spec = RewardSpec.model_validate(self.reward)
        return bind(spec, spec.name)

    @property
    def deadline(self) -> float | None:
        """Seconds for one sample: those of the reward that is asked."""
        return self._judge.deadline

    def __call__(self, sample: Sample) -> Any:
        assert self._judge.one is not None
        raw = self._judge.one(sample)
        score = raw if isinstance(raw, Score) else Score(raw)
        if score.value is None or math.isnan(score.value):
            return raw
        length, unit = length_of(sample)
        ends = self.correct if score.value >= 1 else self.wrong
        value = self.exceeded if length >= self.limit else half_cosine(length / self.limit, *ends)
        return Score(value, parsed=score.parsed, note=f"{score.value:g} at {length} {unit}")


def half_cosine(share: float, start: float, end: float) -> float:
    """From `start` at share 0 to `end` at share 1, along half a cosine wave."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Budget:
    """-alpha times the distance, in tokens, between the completion's length and the one that was asked for.

    The length term of L1-Exact (Aggarwal and Welleck 2025, arXiv 2503.04697, equation 1). The prompt has to say the number;
    None where neither the row nor the recipe holds it, or where the number of tokens is not known.

    Args:
        asked: tokens asked for, where every row has the same number.
        column: column of the row that holds it otherwise.
        alpha: cost of a token too many or too few.
    """

    asked: int | None = None
    column: str = "budget"
    alpha: float = 3e-4

    def __post_init__(self) -> None:
        if self.asked is not None and self.asked < 0:
            raise ConfigError("budget: asked cannot be negative", given=self.asked)

    def __call__(self, sample: Sample) -> Score:
        asked = sample.meta.get(self.column) if self.asked is None else self.asked
        if asked is None:
            return Score(None, note=f"the row has no column {self.column}")
        if sample.tokens is None:
            return Score(None, note="the number of tokens is not known")
        distance = abs(sample.tokens - int(asked))
        return Score(-self.alpha * distance if distance else 0.0, parsed=f"{sample.tokens} of {asked} tokens")


@dataclass(frozen=True)
class Repetition:
    """Minus the share of a completion's n-grams that repeat an earlier one: 0 for none, towards -1 for one phrase over and
    over.

    After the repetition penalty of Yeo et al. 2025 (arXiv 2502.03373, appendix C.2), which charges each repeated token by
    itself; this is its mean over the completion, with words for tokens.

    Args:
        size: words of an n-gram. A shorter completion costs nothing.
    """

    size: int = 3

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError("repetition: size is above 0", given=self.size)

    def __call__(self, sample: Sample) -> Score:
        words = sample.completion.split()
        grams = list(zip(*(words[start:] for start in range(self.size)), strict=False))
        repeated = len(grams) - len(set(grams))
        return Score(-repeated / len(grams) if repeated else 0.0, parsed=f"{repeated} of {len(grams)} repeat")
