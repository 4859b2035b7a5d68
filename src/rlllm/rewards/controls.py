"""Control rewards: `random` and `flipped`. A gain that a run also makes with one of these is not due to its true reward.

They are made for the controls of `rlllm reason` (training/controls.py) and may also be named in a recipe. Both are pure
functions of what they are given, so a resumed run gets the same scores.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score, prompt_text
from rlllm.rewards.bound import BoundReward


@dataclass(frozen=True)
class RandomReward:
    """1 with probability `p`, else 0, whatever the completion says (the random reward of Shao et al. 2025, arXiv 2506.10947).

    The numbers of a batch are drawn from `seed` and the text of the whole batch. So equal completions of one batch are drawn
    separately, and a completion that comes again in another batch is drawn again: no text is worth more than another.

    Args:
        p: share of completions that get 1, between 0 and 1.
        seed: another seed draws other numbers.
    """

    p: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ConfigError("random: p is a probability", given=f"p={self.p}", hint="p: 0.5")

    def score_batch(self, samples: Sequence[Sample]) -> list[float]:
        """0 or 1 for each sample."""
        text = hashlib.sha256(str(self.seed).encode())
        for sample in samples:
            for part in (prompt_text(sample.prompt), sample.completion):
                text.update(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest())
        generator = random.Random(text.hexdigest())
        return [float(generator.random() < self.p) for _ in samples]


class Flipped:
    """1 minus another reward: wrong answers are rewarded, right ones are not. None where the other reward cannot judge.

    Args:
        reward: the other reward; in a recipe its name, or a mapping such as `{name: numeric, params: {absolute: 0.1}}`.
    """

    inner_rewards: ClassVar[Mapping[str, str | None]] = {"reward": None}
    score_batch: Callable[[Sequence[Sample]], list[Any]] | None = None
    """Set where the other reward scores whole batches."""

    def __init__(self, reward: BoundReward) -> None:
        self.deadline = reward.deadline
        self._score_sample, inner_batch = reward.score_sample, reward.score_batch
        if inner_batch is not None:
            self.score_batch = lambda samples: [_flip(raw) for raw in inner_batch(samples)]

    def __call__(self, sample: Sample) -> Any:
        assert self._score_sample is not None
        return _flip(self._score_sample(sample))


def _flip(raw: Any) -> Any:
    """1 minus a raw score. A value that is no number is returned unchanged: None means cannot judge, the rest is an error."""
    score = raw if isinstance(raw, Score) else Score(raw)
    return Score(1.0 - float(score.value), score.parsed, score.note) if isinstance(score.value, Real) else raw
