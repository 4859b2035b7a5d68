"""Pairs of responses to one prompt, their preference labels by a judge or a reward, and the rows of the output file."""

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
    """Whether the data set prefers `first`."""


@dataclass(frozen=True, slots=True)
class PreferenceLabel:
    """The share of orders that prefer the first response (1, 0.5, 0), or None with a reason in `note`."""

    share: float | None
    scores: tuple[float, float] | None = None
    """Scores of first and second, where a reward decided."""
    note: str | None = None


def by_judge(judge: Judge, pairs: Sequence[CandidatePair]) -> list[PreferenceLabel]:
    """Labels by a generative judge, which sees each pair in both orders."""
    results = judge.compare([Comparison(pair.prompt, pair.first, pair.second) for pair in pairs])
    return [PreferenceLabel(result.share, note=result.note) for result in results]


def by_scores(rewards: Composition, pairs: Sequence[CandidatePair]) -> list[PreferenceLabel]:
    """Labels by the scores of a reward: the response with the higher score is preferred; equal scores are a tie."""
    samples = [
        Sample(pair.prompt, text, answer_of(pair.meta), pair.meta)
        for pair in pairs
        for text in (pair.first, pair.second)
    ]
    scores = rewards.score(samples)
    labels = []
    for index in range(len(pairs)):
        first, second = scores.totals[2 * index], scores.totals[2 * index + 1]
        if first is None or second is None:
            missing = 2 * index + (first is not None)
            labels.append(PreferenceLabel(None, note=str(scores.describe(missing))))
        else:
            labels.append(PreferenceLabel(((first > second) - (first < second) + 1) / 2, (first, second)))
    return labels


def label_rows(
    pairs: Sequence[CandidatePair], labels: Sequence[PreferenceLabel], *, keep_ties: bool = False
) -> Iterator[dict[str, Any]]:
    """Rows of the file, one for each decided pair (and each tie, if they are kept)."""
    for pair, label in zip(pairs, labels, strict=True):
        if label.share is None or (label.share == 0.5 and not keep_ties):
            continue
        is_reversed = label.share < 0.5
        sides = (pair.second, pair.first) if is_reversed else (pair.first, pair.second)
        meta = {name: value for name, value in pair.meta.items() if name not in _WRITTEN}
        row = {**(_swapped(meta) if is_reversed else meta)}
        row |= {"prompt": pair.prompt, "chosen": sides[0], "rejected": sides[1]}
        row["agreement"] = max(label.share, 1 - label.share)
        if label.share == 0.5:
            row["tie"] = True
        if label.scores is not None:
            chosen, rejected = sorted(label.scores, reverse=True)
            row |= {"judged_chosen": chosen, "judged_rejected": rejected}
        yield row


def _swapped(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The columns with `chosen` and `rejected` exchanged in their names (`gold_chosen`, `gold_rejected`)."""
    rejected_name = {name: name.removesuffix("chosen") + "rejected" for name in meta if name.endswith("chosen")}
    pairs = {name: partner for name, partner in rejected_name.items() if partner in meta}
    exchange = {**pairs, **{partner: name for name, partner in pairs.items()}}
    return {name: meta[exchange.get(name, name)] for name in meta}


def kappa_of(decided: Sequence[bool]) -> float | None:
    """Cohen's kappa between judge and data.

    Args:
        decided: for each decided pair, whether the judge agrees with the data.

    The order of the two responses is arbitrary. Data that always list the chosen one first would make one rater constant and
    kappa 0 for any judge, so every pair counts in both orders; kappa is then 2 x agreement - 1.
    """
    from rlllm.evals.statistics.agreement import cohens_kappa

    data = [1, 2] * len(decided)
    judge = [label for same in decided for label in ((1, 2) if same else (2, 1))]
    return cohens_kappa(data, judge)
