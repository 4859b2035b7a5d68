"""The `next-token` reward: the prediction is a beginning of the true continuation that ends where a token of it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.data.corpus.positions import BOUNDARIES, word_ends
from rlllm.rewards.verifiers.exact import NO_REFERENCE


@dataclass(frozen=True)
class NextToken:
    """1 if the prediction is the first tokens of the reference, one or more of them, byte for byte; else 0.

    The reward of Reinforcement Pre-Training (Dong et al. 2025, arXiv 2506.08007). The prediction is what stands behind the last
    `marker`; without one it is the completion, a prediction without a thought. Where tokens end is said by the row's
    column `boundaries`, which `rlllm pretrain` writes; of a row without it every word is a token. A token that ends inside a
    character ends no prediction, since no text does.

    Args:
        marker: what ends the thought.
        unmarked: how a completion without the marker predicts: `whole` compares all of it; `first` asks for the first token
            alone, whatever follows, for models that continue a text and do not know where a prediction ends.
        blanks: `exact` compares white space as it is; `free` leaves it out at the beginning of both, for models that begin an
            answer with a line break.
    """

    marker: str = "</think>"
    unmarked: Literal["whole", "first"] = "whole"
    blanks: Literal["exact", "free"] = "exact"
    verifies = True
    needs_answer = True

    def __post_init__(self) -> None:
        if not self.marker:
            raise ConfigError(
                "next-token: the marker is a text that ends the thought", given="marker=", hint="</think>"
            )

    def __call__(self, sample: Sample) -> Score:
        if not sample.answer:
            return Score(None, note=NO_REFERENCE)
        prediction = predicted(sample.completion, self.marker)
        truth, ends = sample.answer, token_ends(sample)
        if self.unmarked == "first" and self.marker not in sample.completion:
            prediction = prediction[: next(iter(ends), 0)]
        if self.blanks == "free":
            removed = len(truth) - len(truth.lstrip())
            prediction, truth, ends = prediction.lstrip(), truth.lstrip(), [end - removed for end in ends]
        hit = bool(prediction) and truth.startswith(prediction) and len(prediction) in ends
        return Score(float(hit), parsed=prediction[:80])


def predicted(completion: str, marker: str = "</think>") -> str:
    """What a completion predicts: the text behind the last marker, or all of it where there is none."""
    return completion.rpartition(marker)[2]


def token_ends(sample: Sample) -> Sequence[int]:
    """Where the tokens of the reference end, in characters."""
    assert sample.answer is not None
    stated = sample.meta.get(BOUNDARIES)
    return stated if isinstance(stated, list | tuple) else word_ends(sample.answer)
