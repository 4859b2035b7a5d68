"""Rewards that carry no sense, on purpose: what a run gains from one of these, it does not owe to its true reward.

They are made for the controls of `rlllm reason` (training/controls.py) and may also be named in a recipe. Both are pure
functions of what they are given, so a resumed run sees the same scores.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score, prompt_text
from rlllm.rewards.binding import bind
from rlllm.rewards.config import RewardSpec


@dataclass(frozen=True)
class RandomReward:
    """1 with probability `p`, else 0, whatever the completion says (the random reward of Shao et al. 2025, arXiv 2506.10947).

    The coins of a batch are drawn from `seed` and the text of the whole batch. So equal completions of one batch get coins of
    their own, and a completion that comes again in another batch gets a new one: no text is worth more than another.

    Args:
        p: share of completions that get 1, between 0 and 1.
        seed: other coins for another seed.
    """

    p: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ConfigError("coin: p is a probability", given=f"p={self.p}", hint="p: 0.5")

    def score_batch(self, samples: Sequence[Sample]) -> list[float]:
        """One coin for each sample."""
        text = hashlib.sha256(str(self.seed).encode())
        for sample in samples:
            for part in (prompt_text(sample.prompt), sample.completion):
                text.update(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest())
        coins = random.Random(text.hexdigest())
        return [float(coins.random() < self.p) for _ in samples]


class Flipped:
    """1 minus another reward: what is wrong pays, what is right does not. None where the other cannot judge.

    Args:
        reward: the other reward, as a recipe names it: `exact`, or `{name: numeric, params: {absolute: 0.1}}`.

    Raises:
        ConfigError: the other reward is unknown, or does not take its arguments.
    """

    score_batch: Callable[[Sequence[Sample]], list[Any]] | None = None
    """Set where the other reward scores whole batches."""

    def __init__(self, reward: str | Mapping[str, Any]) -> None:
        inner = bind(RewardSpec.model_validate(reward), "true")
        self.deadline = inner.deadline
        self._one, many = inner.one, inner.many
        if many is not None:
            self.score_batch = lambda samples: [_flip(raw) for raw in many(samples)]

    def __call__(self, sample: Sample) -> Any:
        assert self._one is not None
        return _flip(self._one(sample))


def _flip(raw: Any) -> Any:
    """A raw score turned round; what is no number (None: cannot judge) is passed on, to be reported as what it is."""
    score = raw if isinstance(raw, Score) else Score(raw)
    return Score(1.0 - float(score.value), score.parsed, score.note) if isinstance(score.value, Real) else raw
