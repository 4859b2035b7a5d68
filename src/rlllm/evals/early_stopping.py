"""Early stopping (`stop_width`): evaluate block by block until the interval of pass@1 is narrow enough.

Problems are taken in a random order, so that those seen so far stand for all. The interval holds at every look
(`confidence_sequence.ConfidenceSequence`), hence also at the one that ended the evaluation.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rlllm.core.records import Sample, Score, fingerprint, task_of
from rlllm.evals.request import EvalRequest
from rlllm.evals.statistics.confidence_sequence import ConfidenceSequence
from rlllm.evals.statistics.intervals import Interval
from rlllm.rewards.composition import Composition

DECIDING_VALUE = "pass@1"
"""The value whose interval decides."""
_PASSES = 1.0

_Known = dict[str, Score | None]
"""Scores by a hash of all that a reward can read."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Where an evaluation ended."""

    problems: int
    """Problems used, with those the reward could not judge."""
    planned: int
    width: float
    """The width that was asked for."""
    interval: Interval
    """Of pass@1, valid at all times; its `n` counts judged problems."""

    @property
    def reached(self) -> bool:
        """Whether the interval is as narrow as was asked; else there were no more problems."""
        return _width(self.interval) <= self.width

    def to_json(self) -> dict[str, Any]:
        return {"problems": self.problems, "planned": self.planned, "width": self.width, "reached": self.reached}


def until_narrow(request: EvalRequest, rewards: Composition, width: float) -> tuple[EvalRequest, Stopped | None]:
    """Draw and score blocks of problems until the interval of pass@1 is no wider than `width`.

    Args:
        request: what would be evaluated.
        rewards: its rewards; the first says what passes, with a value of at least 1.
        width: from 0 to 1.

    Returns:
        The request for the problems that were used, whose first reward remembers what it said of their completions; and
        where it stopped, or None if the reward could judge no problem.
    """
    order = list(request.records)
    random.Random(request.seed).shuffle(order)
    sequence, scores, used, judged = ConfidenceSequence(), _Known(), 0, False
    first = replace(rewards, rewards=rewards.rewards[:1])
    for block in request.each_block([task_of(record) for record in order]):
        used += len(block)
        values = _passed(first, block, scores)
        sequence.update(values)
        judged = judged or bool(values)
        if judged and _width(sequence.interval) <= width:
            break
    shortened = replace(request, records=order[:used], rewards=_remembering(rewards, scores))
    return shortened, Stopped(used, len(order), width, sequence.interval) if judged else None


def _passed(first: Composition, block: Sequence[Sequence[Sample]], scores_by_key: _Known) -> list[float]:
    """Share of the samples that pass, for each problem whose samples all could be judged."""
    flat = [sample for row in block for sample in row]
    scores = first.score(flat)
    scores_by_key.update({_key(sample): score for sample, score in zip(flat, scores.details[0], strict=True)})
    values = iter(scores.values[0])
    rows = [[next(values) for _ in row] for row in block]
    return [sum((value or 0.0) >= _PASSES for value in row) / len(row) for row in rows if None not in row]


def _remembering(rewards: Composition, scores_by_key: _Known) -> Composition:
    """The rewards, whose first one answers from memory: a reward may cost much, or say something else the second time."""
    first = replace(
        rewards.rewards[0],
        score_sample=None,
        score_batch=partial(_recall, scores_by_key),
        deadline=None,
        process_id=os.getpid,
        concurrency=1,
    )
    return replace(rewards, rewards=(first, *rewards.rewards[1:]))


def _recall(scores_by_key: Mapping[Any, Score | None], samples: Sequence[Sample]) -> list[Score]:
    # where the reward failed there is no score; it was counted then, and now cannot judge
    return [scores_by_key[_key(sample)] or Score(None) for sample in samples]


def _key(sample: Sample) -> str:
    return fingerprint([sample.prompt, sample.completion, sample.answer, dict(sample.meta)])


def _width(interval: Interval) -> float:
    return interval.high - interval.low
