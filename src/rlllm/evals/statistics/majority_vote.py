"""Majority vote, weighted vote and best of k: the chance that the answer chosen among samples is correct.

Every function gives the chance that the chosen answer is correct. Equals share evenly, so no number depends on the order of the
samples. What is said of k of n samples is the mean over all subsets of k, so it is unbiased for k fresh samples.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from rlllm.parsing.answers import extract_answer
from rlllm.parsing.numbers import answer_key

MAX_SUBSETS = 256
"""Up to this many subsets are enumerated; of more, so many are drawn (still unbiased)."""
_Answers = Sequence[str | None]
"""The marked answer of each sample; None where there is none."""
_Scores = Sequence[float | None]
"""A selector's score of each sample; None where it cannot judge."""


def best_of_k(scores: _Scores, correct: Sequence[float], k: int) -> float:
    """Expected correctness of the highest-scored of k samples, over all subsets of k of the n.

    By the order statistic: the maximum of a subset is one of the t samples that share a value with probability
    (C(m, k) - C(m - t, k)) / C(n, k), where m samples are not above that value. For correctness as its own score this is
    pass@k.

    Args:
        scores: of each sample; None ranks below every number.
        correct: 0 or 1 of each sample.
        k: from 1 to the number of samples.
    """
    tied: dict[float, list[float]] = defaultdict(list)
    for value, right in zip(scores, correct, strict=True):
        tied[-math.inf if value is None else value].append(right)
    subsets, below, expected = math.comb(len(correct), k), 0, 0.0
    for value in sorted(tied):
        rights = tied[value]
        ways = math.comb(below + len(rights), k) - math.comb(below, k)
        expected += ways / subsets * (sum(rights) / len(rights))
        below += len(rights)
    return expected


def majority(answers: _Answers, correct: Sequence[float]) -> float:
    """Chance that the most frequent answer is correct; nobody voting counts as wrong. Also known as self-consistency.

    Source: Wang et al. 2022, arXiv 2203.11171.
    """
    return weighted_majority(answers, correct, [1.0] * len(answers))


def weighted_majority(answers: _Answers, correct: Sequence[float], weights: Sequence[float]) -> float:
    """Chance that the answer with the largest sum of weights is correct. Answers are one where `answer_key` is: 1/2 and 0.5.

    Source: Li et al. 2022, arXiv 2206.02336 (votes weighted by a verifier).
    """
    votes: dict[object, list[float]] = defaultdict(list)
    rights: dict[object, list[float]] = defaultdict(list)
    for answer, right, weight in zip(answers, correct, weights, strict=True):
        if answer is not None:
            votes[key := answer_key(answer)].append(weight)
            rights[key].append(right)
    if not votes:
        return 0.0
    sums = {answer: math.fsum(given) for answer, given in votes.items()}
    most = max(sums.values())
    winners = [sum(rights[answer]) / len(rights[answer]) for answer, total in sums.items() if total == most]
    return sum(winners) / len(winners)


def vote_weights(rows: Sequence[_Scores]) -> list[list[float]]:
    """Scores as weights of votes: as they are where all lie in [0, 1], else through the logistic function; None weighs 0.

    The logistic function turns a reward model's score into its Bradley-Terry chance against a completion of score 0.
    """
    scores = [value for row in rows for value in row if value is not None]
    shares = all(0.0 <= value <= 1.0 for value in scores)
    return [[0.0 if v is None else v if shares else _logistic(v) for v in row] for row in rows]


def marked(completions: Sequence[str]) -> list[str | None]:
    """What each completion votes for."""
    return [extract_answer(completion) for completion in completions]


def over_subsets(choose: Callable[[Sequence[int]], float], n: int, k: int, seed: int) -> float:
    """Mean of `choose` over the subsets of k of n samples: over all of them, or over a seeded draw where they are many."""
    values = [choose(subset) for subset in _subsets(n, k, seed)]
    return math.fsum(values) / len(values)


def _subsets(n: int, k: int, seed: int) -> Iterator[Sequence[int]]:
    if math.comb(n, k) <= MAX_SUBSETS:
        yield from combinations(range(n), k)
        return
    generator = random.Random(f"subsets {n} {k} {seed}")
    for _ in range(MAX_SUBSETS):
        yield generator.sample(range(n), k)


def _logistic(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
