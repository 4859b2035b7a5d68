"""The `repetition` reward: minus the share of n-grams of a completion that repeat an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score


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
    penalty: ClassVar[bool] = True
    verifies = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError("repetition: size is above 0", given=self.size)

    def __call__(self, sample: Sample) -> Score:
        words = sample.completion.split()
        grams = list(zip(*(words[start:] for start in range(self.size)), strict=False))
        repeated = len(grams) - len(set(grams))
        return Score(-repeated / len(grams) if repeated else 0.0, parsed=f"{repeated} of {len(grams)} repeat")
