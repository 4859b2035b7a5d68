"""Diversity of the completions of one problem: distinct-n and self-similarity.

Words and symbols are compared, not tokens, so that models with different tokenizers can be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from rlllm.evals.statistics.intervals import Interval, mean_interval

_UNITS = re.compile(r"\w+|[^\w\s]")
_Completions = Sequence[Sequence[str]]
"""For each problem, its completions."""


def diversity(completions: _Completions, *, seed: int = 0) -> dict[str, Interval]:
    """`distinct-1` to `distinct-3` and `self-similarity`, each a mean over the problems for which it is defined.

    A measure that is defined for no problem (one sample each, or empty texts) is left out.
    """
    values_by_name: dict[str, list[list[float]]] = {name: [] for name in _MEASURES}
    for texts in completions:
        words = [_UNITS.findall(text) for text in texts]
        for name, measure in _MEASURES.items():
            if (value := measure(words)) is not None:
                values_by_name[name].append([value])
    return {name: mean_interval(values, seed) for name, values in values_by_name.items() if values}


def distinct_n(texts: Sequence[Sequence[str]], n: int) -> float | None:
    """Different n-grams over all n-grams of one problem's completions (lists of words); None if there are no n-grams.

    1 says that none occurs twice, in one completion or in two. It falls with length and with the number of samples: compare
    models at equal samples.

    Source: Li et al. 2016, arXiv 1510.03055, section 5.
    """
    grams = [gram for words in texts for gram in _grams(words, n)]
    return len(set(grams)) / len(grams) if grams else None


def self_similarity(texts: Sequence[Sequence[str]]) -> float | None:
    """Mean Jaccard similarity of the sets of words and word pairs of two completions of one problem; None for one.

    Each completion is compared with the next (the last with the first). They were drawn independently, so this has the same
    expectation as all pairs, in linear time.
    """
    if len(texts) < 2:
        return None
    sets = [{*_grams(words, 1), *_grams(words, 2)} for words in texts]
    pairs = list(zip(sets, [*sets[1:], sets[0]], strict=True))[: len(sets) if len(sets) > 2 else 1]
    return sum(_jaccard(first, second) for first, second in pairs) / len(pairs)


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def _jaccard(first: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> float:
    """Shared over all; two empty completions are the same."""
    union = len(first | second)
    return len(first & second) / union if union else 1.0


_MEASURES: dict[str, Callable[[Sequence[Sequence[str]]], float | None]] = {
    "distinct-1": partial(distinct_n, n=1),
    "distinct-2": partial(distinct_n, n=2),
    "distinct-3": partial(distinct_n, n=3),
    "self-similarity": self_similarity,
}
