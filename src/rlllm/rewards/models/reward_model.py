"""The `model` reward: a trained reward model, or an ensemble of them, scores prompt and completion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.core.runs import ENSEMBLE
from rlllm.rewards.models.classifier import Classifier
from rlllm.rewards.models.ensemble import Aggregate, aggregate, read_ensemble


@dataclass(frozen=True)
class RewardModel:
    """Score of a reward model, in its own units (logits), without bounds.

    See `Classifier` for how text becomes tokens. Loaded on first use, in float32, on an accelerator if there is one; a
    score does not depend on the batch around it.

    Args:
        path: folder of a sequence classifier with one label, or of an ensemble of them, or a Hub id.
        batch_size: sequences per forward pass.
        max_length: in tokens; of a longer sequence the end is kept, and the score is noted.
        aggregate: how an ensemble's scores become one: `mean`, `worst`, or `uncertainty`; see `rewards.models.ensemble`.
        penalty: of `uncertainty`: how many standard deviations over the members are taken off the mean.

    Raises:
        ConfigError: a setting that makes no sense, such as an aggregation for a single model.
        ModelError: the folder holds no such classifier, or it does not load.
        DataError: the prompt is a conversation, but the tokenizer has no chat template.
    """

    path: str
    batch_size: int = 16
    max_length: int = 1024
    aggregate: Aggregate = "mean"
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_length < 1:
            raise ConfigError(
                "model: batch_size and max_length must be positive", given=f"{self.batch_size}, {self.max_length}"
            )
        if not (math.isfinite(self.penalty) and self.penalty >= 0):
            raise ConfigError("model: penalty must be a number >= 0", given=self.penalty)
        if self.aggregate != "mean" and not self.is_ensemble:
            raise ConfigError(
                "model: only an ensemble has scores to aggregate",
                given=f"aggregate={self.aggregate} for {self.path}",
                hint="leave it out, or train an ensemble: rlllm train-rm method=ensemble",
            )
        self.__dict__["_members"] = self._find_members()

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> RewardModel:
        """A classifier that is already in memory, such as one in training; it is scored in evaluation mode."""
        scorer = cls(path="a model in memory")
        scorer.__dict__["_members"] = [(Classifier.of(model, tokenizer), 0.0)]
        return scorer

    @property
    def is_ensemble(self) -> bool:
        return (Path(self.path) / ENSEMBLE).is_file()

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """One score per sample."""
        return self.score_padded(samples, 0)

    def score_padded(self, samples: Sequence[Sample], padding: int) -> list[Score]:
        """`score_batch` with that many further padding tokens on every sequence; the scores should be the same."""
        columns, lengths, room = [], [0] * len(samples), self.max_length
        for member, centre in self.__dict__["_members"]:
            sequences = member.encode(samples)
            columns.append([value - centre for value in member.scores(sequences, padding=padding)])
            room = min(room, member.longest)
            lengths = [max(before, len(ids)) for before, ids in zip(lengths, sequences, strict=True)]
        rows = zip(*columns, strict=True)
        return [self._score(row, length, room) for row, length in zip(rows, lengths, strict=True)]

    def release(self) -> None:
        """Free the weights; they are loaded again when the next sample is scored."""
        for member, _ in self.__dict__["_members"]:
            member.release()

    def _score(self, values: tuple[float, ...], length: int, room: int) -> Score:
        notes = []
        if len(values) > 1:
            listed = ", ".join(f"{value:.2f}" for value in values)
            notes.append(f"members {listed}; standard deviation {pstdev(values):.2f}")
        if length > room:
            notes.append(f"scored the last {room} of {length} tokens")
        return Score(aggregate(values, self.aggregate, self.penalty), note="; ".join(notes) or None)

    def _find_members(self) -> list[tuple[Classifier, float]]:
        """Each member with the constant to subtract (0 for a single model); refuses a folder that is no reward model."""
        if not self.is_ensemble:
            return [(Classifier(self.path, self.batch_size, self.max_length), 0.0)]
        return [
            (Classifier(str(member.folder), self.batch_size, self.max_length), member.centre)
            for member in read_ensemble(Path(self.path))
        ]
