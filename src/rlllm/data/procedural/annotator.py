"""The simulated annotator: preference pairs and thumbs up or down, from the true utility `gold_utility` and noise.

Bradley-Terry: the better of two solutions is chosen with probability sigmoid(gap / temperature), and the choice is then
reversed at the flip rate. A single solution gets a thumb up if it is preferred, in the same way, to a fixed utility
`threshold`. The held-out split is labelled without noise unless `noisy_holdout` is set.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from rlllm.core.config import Section
from rlllm.core.errors import DataError
from rlllm.core.records import LabelledCompletion, PreferencePair
from rlllm.data.procedural.gold_utility import CORRECT_WEIGHT, gold_utility
from rlllm.data.procedural.problems import Problem
from rlllm.data.procedural.solution_writer import Rate, WriterParams, write

_TRIES = 60


class AnnotatorParams(Section):
    """How the annotator errs."""

    temperature: Annotated[float, Field(ge=0)] = 0.1
    """Bradley-Terry temperature in units of gold utility; 0 always prefers the better solution."""
    flip_rate: Rate = 0.05
    """Share of choices that are reversed, whatever the gap."""
    min_gap: Annotated[float, Field(ge=0)] = 0.1
    """Smallest gap in gold utility between two solutions that are shown as a pair; equal ones never are."""
    noisy_holdout: bool = False
    """Label the held-out split with the same noise."""
    threshold: float = CORRECT_WEIGHT
    """Gold utility a single solution is weighed against for its thumbs up or down. The default parts right from wrong."""
    margin: bool = False
    """Put the absolute gap in gold utility into the pair's `margin`."""
    reference: bool = False
    """Give each pair a third completion in its column `reference`: a right, short and well-formed solution (for TPO)."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A solution and its true utility."""

    text: str
    utility: float


def make_pair(
    problem: Problem, generator: random.Random, writer: WriterParams, annotator: AnnotatorParams
) -> PreferencePair:
    """Two different solutions of unequal utility, the preferred one first.

    Raises:
        DataError: the writer's rates give no two solutions of different utility.
    """
    first, second = _candidates(problem, generator, writer, annotator.min_gap)
    chosen, rejected = (
        (first, second) if prefers(first.utility - second.utility, generator, annotator) else (second, first)
    )
    return PreferencePair(
        prompt=problem.prompt,
        chosen=chosen.text,
        rejected=rejected.text,
        margin=abs(chosen.utility - rejected.utility) if annotator.margin else None,
        meta={
            **problem.meta,
            "answer": problem.answer,
            "gold_chosen": chosen.utility,
            "gold_rejected": rejected.utility,
            **({"reference": _model_solution(problem)} if annotator.reference else {}),
        },
    )


def _model_solution(problem: Problem) -> str:
    """A right solution. It has a separate random generator, so that the pairs are the same with and without it."""
    return write(problem, random.Random(f"reference {problem.key}"), WriterParams(clean=True))


def make_labelled(
    problem: Problem, generator: random.Random, writer: WriterParams, annotator: AnnotatorParams
) -> LabelledCompletion:
    """One solution and the annotator's thumb: up with probability sigmoid((utility - threshold) / temperature), flips aside."""
    candidate = _candidate(problem, generator, writer)
    return LabelledCompletion(
        prompt=problem.prompt,
        completion=candidate.text,
        label=prefers(candidate.utility - annotator.threshold, generator, annotator),
        meta={**problem.meta, "answer": problem.answer, "gold": candidate.utility},
    )


def prefers(gap: float, generator: random.Random, annotator: AnnotatorParams) -> bool:
    """Whether the annotator picks the first of two solutions; `gap` is its utility minus the second's."""
    if annotator.temperature > 0:
        choice = generator.random() < 1 / (1 + math.exp(min(-gap / annotator.temperature, 500)))
    else:
        choice = gap > 0
    return choice != (generator.random() < annotator.flip_rate)


def _candidates(
    problem: Problem, generator: random.Random, writer: WriterParams, min_gap: float
) -> tuple[_Candidate, _Candidate]:
    for _ in range(_TRIES):
        first, second = (_candidate(problem, generator, writer) for _ in range(2))
        if first.utility != second.utility and abs(first.utility - second.utility) >= min_gap:
            return first, second
    raise DataError(
        "the writer's solutions are all worth the same, so there is nothing to prefer",
        given=f"params {writer.model_dump()}",
        hint="leave out clean, lower min_gap, or raise error_rate, verbose_rate or malformed_rate",
    )


def _candidate(problem: Problem, generator: random.Random, writer: WriterParams) -> _Candidate:
    text = write(problem, generator, writer)
    utility = gold_utility(problem.sample(text))
    assert utility is not None, "every procedural problem can be judged"
    return _Candidate(text, utility)
