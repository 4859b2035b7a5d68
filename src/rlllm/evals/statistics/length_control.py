"""Length control: win rates and differences of accuracies among completions of like length.

Two forms. A win rate is controlled by a logistic regression on the difference of lengths. An accuracy is controlled by
comparing two models within strata of equal length. Neither proves what a model would do at another length: both say what
is left of a difference among completions that are alike in length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import DataError
from rlllm.evals.statistics.intervals import Interval, constant, resampled_sums

if TYPE_CHECKING:
    from numpy import ndarray

_Table = Sequence[Sequence[float]]
"""For each problem, a number for each of its completions."""
_STRATA = 5
_RIDGE = 0.25
"""Curvature that holds the slope, that of one comparison: lengths that are all equal say nothing about it."""
_COIN = 0.25
"""Variance of the toss of a coin."""


def controlled_win_rate(ours: _Table, theirs: _Table, our_lengths: _Table, their_lengths: _Table) -> Interval:
    """`controlled_outcomes` of scored completions: within a problem every one of ours meets every one of theirs.

    Args:
        ours, theirs: scores of the completions; same problems in the same order.
        our_lengths, their_lengths: lengths of the same completions, in tokens or characters.

    Raises:
        DataError: no problems, tables of different shapes, or a score that is not finite.
    """
    return _controlled(*_comparisons(ours, theirs, our_lengths, their_lengths))


def controlled_outcomes(outcomes: _Table, differences: _Table) -> Interval:
    """Length-controlled win rate: the modelled chance to win against a completion of equal length.

    A tie is half a win. With the difference of lengths d, ours minus theirs, and its root mean square s over all comparisons,

        P(win) = sigmoid(a + b tanh(d / s)),    reported: sigmoid(a).

    This is AlpacaEval's model without its term for the difficulty of an instruction, which needs a third model to be
    estimated. Fitted by maximum likelihood where every problem has weight 1, with one problem added that is half won at d = 0:
    without it a model that wins all has an infinite logit. The interval is Student's on the logit, with a variance that lets
    the comparisons of one problem depend on each other (a sandwich by problem). It is at least what one problem decided by
    the toss of a coin would bring, so that models which tie throughout do not get a point.

    Args:
        outcomes: for each problem 1, 0.5 or 0 of each of its comparisons.
        differences: d of the same comparisons.

    Source: Dubois et al. 2024, arXiv 2404.04475, section 3; sandwich: Liang & Zeger, Biometrika 73 (1986), 13.
    """
    import numpy as np

    problem = np.repeat(np.arange(len(outcomes)), [len(row) for row in outcomes])
    won, longer = (np.concatenate([np.asarray(row, dtype=float) for row in table]) for table in (outcomes, differences))
    return _controlled(won, longer, problem)


def _controlled(outcomes: ndarray, differences: ndarray, problem: ndarray) -> Interval:
    import numpy as np
    from scipy.special import stdtrit

    problems = int(problem[-1]) + 1
    scale = math.sqrt(float(np.mean(differences**2))) or 1.0
    outcomes, differences, problem = (
        np.append(column, added) for column, added in ((outcomes, 0.5), (differences, 0.0), (problem, problems))
    )
    features = np.column_stack([np.ones(len(outcomes)), np.tanh(differences / scale)])
    intercept, variance = _logistic(features, outcomes, problem)
    reach = -float(stdtrit(max(problems - 2, 1), 0.025)) * math.sqrt(variance)
    low, estimate, high = (1 / (1 + math.exp(-value)) for value in (intercept - reach, intercept, intercept + reach))
    return Interval(estimate, low, high, problems, "logistic, by problem")


def _comparisons(ours: _Table, theirs: _Table, our_lengths: _Table, their_lengths: _Table) -> tuple[ndarray, ...]:
    """Outcome, difference of lengths and problem of each comparison."""
    import numpy as np

    shapes = [[len(row) for row in table] for table in (ours, theirs, our_lengths, their_lengths)]
    if not shapes[0] or shapes[0] != shapes[2] or shapes[1] != shapes[3] or len(ours) != len(theirs):
        raise DataError("a controlled win rate needs a score and a length of each completion, of the same problems")
    scores, lengths = (
        [np.subtract.outer(np.asarray(a, dtype=float), np.asarray(b, dtype=float)).ravel() for a, b in rows]
        for rows in (zip(ours, theirs, strict=True), zip(our_lengths, their_lengths, strict=True))
    )
    ahead, longer = np.concatenate(scores), np.concatenate(lengths)
    if not np.isfinite(ahead).all() or not np.isfinite(longer).all():
        raise DataError("a controlled win rate needs finite scores and lengths")
    problem = np.repeat(np.arange(len(scores)), [len(row) for row in scores])
    return (np.sign(ahead) + 1) / 2, longer, problem


def _logistic(features: ndarray, outcomes: ndarray, problem: ndarray) -> tuple[float, float]:
    """Intercept of a logistic regression in which problems weigh the same, and its variance by problem. Newton's method."""
    import numpy as np

    weights = 1.0 / np.bincount(problem)[problem]
    prior = np.diag([0.0, _RIDGE])
    fitted = np.zeros(2)
    for _ in range(100):
        chance = 1 / (1 + np.exp(-features @ fitted))
        slope = features.T @ (weights * (outcomes - chance)) - prior @ fitted
        curvature = (features * (weights * chance * (1 - chance))[:, None]).T @ features + prior
        step = np.linalg.solve(curvature, slope)
        fitted = fitted + step
        if np.abs(step).max() < 1e-10:
            break
    scores = np.zeros((problem[-1] + 1, 2))
    np.add.at(scores, problem, features * (weights * (outcomes - chance))[:, None])
    clusters = len(scores)
    meat = scores.T @ scores * (clusters / (clusters - 1))
    bread = np.linalg.inv(curvature)
    return float(fitted[0]), max(float((bread @ meat @ bread)[0, 0]), _COIN * float(bread[0, 0]) ** 2)


def controlled_difference(
    before: _Table, after: _Table, lengths_before: _Table, lengths_after: _Table, *, seed: int = 0
) -> Interval | None:
    """Difference of two accuracies, after minus before, among completions of like length.

    The completions of both models together are cut into five strata of equal size by length. The result is the sum over
    strata of (accuracy after - accuracy before) * w, where w is the stratum's share of all completions: direct
    standardisation to the pooled lengths. A stratum that one model never writes compares nothing; it is left out, and w is
    rescaled over the others. The interval is a percentile bootstrap over problems, with the strata held; where it does not
    move, that of `statistics.constant`.

    Args:
        before, after: 0 or 1, or a score in [0, 1], of each completion; same problems in the same order.
        lengths_before, lengths_after: lengths of the same completions.

    Returns:
        None where no stratum has completions of both: the two models' lengths do not overlap.

    Source: direct standardisation as in Rothman, Greenland & Lash, Modern Epidemiology (2008), chapter 15.
    """
    import numpy as np

    edges = _strata_edges([*lengths_before, *lengths_after])
    sums = np.concatenate(
        [_stratified(before, lengths_before, edges), _stratified(after, lengths_after, edges)], axis=1
    )
    estimate = _standardised(sums.sum(axis=0)[None])[0]
    if not math.isfinite(estimate):
        return None
    resampled = _standardised(resampled_sums(sums, seed))
    if np.nanmax(resampled) - np.nanmin(resampled) <= 1e-12:
        return constant(float(estimate), len(before), (-1.0, 1.0))
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high), len(before), "bootstrap within strata of length")


def accuracy_by_length(scores: _Table, lengths: _Table) -> list[dict[str, Any]]:
    """Accuracy of one model's completions in five strata of length: rows `from`, `to`, `completions`, `accuracy`.

    Strata have equal size but for ties. `to` belongs to its stratum; `from` to the one before, but for the first.
    """
    edges = _strata_edges(lengths)
    table = _stratified(scores, lengths, edges).sum(axis=0)
    count = len(edges) + 1
    flat = [length for row in lengths for length in row]
    ends = [min(flat), *edges.tolist(), max(flat)]
    return [
        {
            "from": ends[stratum],
            "to": ends[stratum + 1],
            "completions": int(table[count + stratum]),
            "accuracy": float(table[stratum] / table[count + stratum]),
        }
        for stratum in range(count)
    ]


def _strata_edges(lengths: _Table) -> ndarray:
    """The lengths that end all strata but the last, without repetition: quantiles of all lengths."""
    import numpy as np

    flat = np.asarray([length for row in lengths for length in row], dtype=float)
    shares = np.arange(1, _STRATA) / _STRATA
    edges = np.unique(np.quantile(flat, shares, method="inverted_cdf"))
    return edges[edges < flat.max()]


def _stratified(scores: _Table, lengths: _Table, edges: ndarray) -> ndarray:
    """For each problem the sum of its scores in each stratum, then the number of completions there: (N, 2 S)."""
    import numpy as np

    strata = len(edges) + 1
    table = np.zeros((len(scores), 2 * strata))
    for index, (row, sizes) in enumerate(zip(scores, lengths, strict=True)):
        place = np.searchsorted(edges, np.asarray(sizes, dtype=float), side="left")
        np.add.at(table[index], place, np.asarray(row, dtype=float))
        np.add.at(table[index], strata + place, 1.0)
    return table


def _standardised(sums: ndarray) -> ndarray:
    """The controlled difference of each row of sums (R, 4 S); NaN where no stratum has completions of both."""
    import numpy as np

    right_a, count_a, right_b, count_b = np.split(sums, 4, axis=1)
    shared = (count_a > 0) & (count_b > 0)
    weight = np.where(shared, count_a + count_b, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(shared, right_b / count_b - right_a / count_a, 0.0)
        return (gap * weight).sum(axis=1) / weight.sum(axis=1)
