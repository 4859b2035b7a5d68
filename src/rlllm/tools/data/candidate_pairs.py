"""Two responses to one prompt: who decides between them, and the row of the file that comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.records import Prompt, Sample, answer_of
from rlllm.rewards.composition import Composition
from rlllm.rewards.judges.judge import Comparison, Judge

_WRITTEN = ("agreement", "tie", "judged_chosen", "judged_rejected")
"""Columns of an earlier labelling, which this one replaces."""


@dataclass(frozen=True, slots=True)
class CandidatePair:
    """Two responses to one prompt."""

    prompt: Prompt
    first: str
    second: str
    meta: Mapping[str, Any]
    labelled: bool
    """Whether the data already prefer `first`."""


@dataclass(frozen=True, slots=True)
class PreferenceLabel:
    """What was decided: the share of orders that prefer the first response (1, 0.5, 0), or None with a reason."""

    share: float | None
    scores: tuple[float, float] | None = None
    """Scores of first and second, where a reward decided."""
    note: str | None = None


def by_judge(judge: Judge, contests: Sequence[CandidatePair]) -> list[PreferenceLabel]:
    """Rulings of a judge that writes, asked in both orders."""
    opinions = judge.compare([Comparison(contest.prompt, contest.first, contest.second) for contest in contests])
    return [PreferenceLabel(opinion.share, note=opinion.note) for opinion in opinions]


def by_scores(rewards: Composition, contests: Sequence[CandidatePair]) -> list[PreferenceLabel]:
    """Rulings of a reward: the response with the higher score, a tie where both are equal."""
    samples = [
        Sample(contest.prompt, text, answer_of(contest.meta), contest.meta)
        for contest in contests
        for text in (contest.first, contest.second)
    ]
    scores = rewards.score(samples)
    rulings = []
    for index in range(len(contests)):
        first, second = scores.totals[2 * index], scores.totals[2 * index + 1]
        if first is None or second is None:
            missing = 2 * index + (first is not None)
            rulings.append(PreferenceLabel(None, note=str(scores.describe(missing))))
        else:
            rulings.append(PreferenceLabel(((first > second) - (first < second) + 1) / 2, (first, second)))
    return rulings


def label_rows(
    contests: Sequence[CandidatePair], rulings: Sequence[PreferenceLabel], *, keep_ties: bool = False
) -> Iterator[dict[str, Any]]:
    """Rows of the file, one for each decided pair (and each tie, if they are kept)."""
    for contest, ruling in zip(contests, rulings, strict=True):
        if ruling.share is None or (ruling.share == 0.5 and not keep_ties):
            continue
        reversed_ = ruling.share < 0.5
        sides = (contest.second, contest.first) if reversed_ else (contest.first, contest.second)
        meta = {name: value for name, value in contest.meta.items() if name not in _WRITTEN}
        row = {**(_swapped(meta) if reversed_ else meta)}
        row |= {"prompt": contest.prompt, "chosen": sides[0], "rejected": sides[1]}
        row["agreement"] = max(ruling.share, 1 - ruling.share)
        if ruling.share == 0.5:
            row["tie"] = True
        if ruling.scores is not None:
            chosen, rejected = sorted(ruling.scores, reverse=True)
            row |= {"judged_chosen": chosen, "judged_rejected": rejected}
        yield row


def _swapped(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that name a side, with the sides exchanged; the others as they are."""
    other = {name: name.removesuffix("chosen") + "rejected" for name in meta if name.endswith("chosen")}
    pairs = {name: partner for name, partner in other.items() if partner in meta}
    exchange = {**pairs, **{partner: name for name, partner in pairs.items()}}
    return {name: meta[exchange.get(name, name)] for name in meta}


def kappa_of(decided: Sequence[bool]) -> float | None:
    """Cohen's kappa between judge and data, from whether they agree on each pair.

    Which response comes first is arbitrary: data that always list the chosen one first would make one rater constant, and
    kappa 0 for any judge. So every pair counts in both orders, and kappa is 2 x agreement - 1.
    """
    from rlllm.evals.statistics.agreement import cohens_kappa

    data = [1, 2] * len(decided)
    judge = [label for same in decided for label in ((1, 2) if same else (2, 1))]
    return cohens_kappa(data, judge)
