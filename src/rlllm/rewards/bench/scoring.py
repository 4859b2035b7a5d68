"""Score a reward's test cases: the score of each, the time it takes, and whether a second scoring gives the same.

Everything is scored twice, the second time in another order and in other batches. The completions of one prompt stay in one
batch, as they do in training, so that rewards which compare them give the same scores.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlllm.core.errors import RewardError
from rlllm.core.records import Score, fingerprint
from rlllm.rewards.bench.cases import Case
from rlllm.rewards.composition import Composition

_BATCH = 32
"""Cases a reward of batches gets at once, as near as whole prompts allow."""
TOLERANCE = 1e-3
"""Two scores of one text are the same if they differ by less, as a share of the larger or of 1: batches pad differently."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reward said of one case."""

    case: Case
    score: Score | None
    """None where it failed; `error` then says how."""
    error: str | None
    seconds: float
    """What the first scoring took; of a batch, its share."""
    changed: bool = False
    """Whether the second scoring said something else."""

    @property
    def value(self) -> float | None:
        return self.score.value if self.score else None


def measure(rewards: Composition, cases: Sequence[Case], seed: int = 0) -> list[Outcome]:
    """Score every case twice with the one reward of `rewards`; outcomes in the order of the cases.

    Args:
        rewards: one reward. Its errors are counted here, so it should be built with a `max_error_rate` of 1.
        seed: of the second scoring's order.

    Raises:
        RlllmError: the reward found its own setup wrong.
    """
    first = _pass(rewards, cases, _batches(rewards, cases, _BATCH, None))
    second = _pass(rewards, cases, _batches(rewards, cases, 3 * _BATCH, random.Random(seed)))
    return [
        Outcome(before.case, before.score, before.error, before.seconds, changed=_differ(before, after))
        for before, after in zip(first, second, strict=True)
    ]


def _batches(rewards: Composition, cases: Sequence[Case], size: int, order: random.Random | None) -> list[list[int]]:
    """Indices of the cases, cut into batches; one by one for a reward that scores one by one."""
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        groups.setdefault(fingerprint(case.sample.prompt), []).append(index)
    shuffled = list(groups.values())
    if order:
        order.shuffle(shuffled)
        for group in shuffled:
            order.shuffle(group)
    if rewards.rewards[0].score_sample is not None:
        return [[index] for group in shuffled for index in group]
    batches: list[list[int]] = []
    for group in shuffled:
        if batches and len(batches[-1]) + len(group) <= size:
            batches[-1] += group
        else:
            batches.append(list(group))
    return batches


def _pass(rewards: Composition, cases: Sequence[Case], batches: Sequence[Sequence[int]]) -> list[Outcome]:
    outcomes = {
        index: outcome
        for batch in batches
        for index, outcome in zip(batch, _scored(rewards, [cases[index] for index in batch]), strict=True)
    }
    return [outcomes[index] for index in range(len(cases))]


def _scored(rewards: Composition, cases: Sequence[Case]) -> Iterator[Outcome]:
    start = time.perf_counter()
    try:
        scores = rewards.score([case.sample for case in cases])
    except RewardError as error:
        if not rewards.tallies:  # it was not counted: the reward itself gave up, which no further case will mend
            raise
        seconds = (time.perf_counter() - start) / len(cases)
        yield from (Outcome(case, None, error.what, seconds) for case in cases)
        return
    seconds = (time.perf_counter() - start) / len(cases)
    messages = {issue.index: issue.message for issue in scores.errors}
    for index, case in enumerate(cases):
        yield Outcome(case, scores.details[0][index], messages.get(index), seconds)


def _differ(before: Outcome, after: Outcome) -> bool:
    if before.value is None or after.value is None:
        return (before.value is None, before.error is None) != (after.value is None, after.error is None)
    return abs(before.value - after.value) > TOLERANCE * max(1.0, abs(before.value), abs(after.value))
