"""The card of a reward model: what it gets right on held-out pairs, and what else its score depends on.

A scorer is anything with `score_batch` and `score_padded` (see `rewards.models.reward_model`); its scores are finite
numbers without a common unit. Each row has its definition beside it, so that a reader needs no other page. The unit of every
interval is the pair. numpy and scipy are imported inside functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, Sample, Score, sample_of
from rlllm.evals.statistics.intervals import Interval, blocks_of, mean_interval, pair_accuracy, preference

if TYPE_CHECKING:
    from numpy import ndarray

_BINS = 10
_PROBED = 8
"""Texts on which batch and padding invariance are tried."""
_EXTRA_PADDING = 7
_RESAMPLES = 2_000
_SIMULATIONS = 1_000


class Scorer(Protocol):
    """A reward model, whole or an ensemble."""

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]: ...
    def score_padded(self, samples: Sequence[Sample], padding: int) -> list[Score]: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a card. `value` is None where it is not defined, such as a correlation of equal scores."""

    name: str
    value: Interval | None
    definition: str
    main: bool = False
    """Belongs to the few that are shown everywhere."""
    higher_is_better: bool | None = None
    """None: neither; it describes."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "value": self.value.to_json() if self.value else None}


def scores(scorer: Scorer, samples: Sequence[Sample]) -> list[float]:
    """One number per sample. Raises DataError where the scorer cannot judge: a card needs every score."""
    return _numbers(scorer.score_batch(samples))


def _numbers(given: Sequence[Score]) -> list[float]:
    finite = [float(score.value) for score in given if score.value is not None and math.isfinite(score.value)]
    if len(finite) < len(given):
        missing = f"{len(given) - len(finite)} of {len(given)} texts"
        raise DataError("the reward model gives no finite score for some texts", given=missing)
    return finite


def card(
    scorer: Scorer, pairs: Sequence[PreferencePair], chosen: Sequence[float], rejected: Sequence[float], seed: int = 0
) -> list[Row]:
    """Every row of the card.

    Args:
        scorer: the reward model.
        pairs: held-out pairs, at least one.
        chosen, rejected: its scores of them, in their order, finite.

    Raises:
        DataError: no pairs, or a text it cannot score.
    """
    return [
        Row(
            "pair accuracy",
            _accuracy(chosen, rejected, seed),
            "share of pairs whose chosen text scores higher; a tie counts half",
            main=True,
            higher_is_better=True,
        ),
        *_calibration_rows(chosen, rejected, seed),
        *_length_rows(pairs, chosen, rejected, seed),
        *_damage_rows(scorer, pairs, chosen, seed),
        *_invariance_rows(scorer, pairs),
        Row(
            "swap asymmetry",
            _largest([swap_asymmetry(a, b) for a, b in zip(chosen, rejected, strict=True)], "by construction"),
            "largest |P(a over b) + P(b over a) - 1| over the pairs; 0 by construction for a model that scores one text",
            higher_is_better=False,
        ),
    ]


def _accuracy(chosen: Sequence[float], rejected: Sequence[float], seed: int = 0) -> Interval | None:
    """Share of pairs ranked as labelled, ties counted half; None without pairs."""
    return pair_accuracy(chosen, rejected, seed=seed) if chosen else None


def _calibration_rows(chosen: Sequence[float], rejected: Sequence[float], seed: int = 0) -> list[Row]:
    """ECE, what a calibrated model would show on as many pairs, and the Brier score."""
    confidence, outcome = folded(chosen, rejected)
    ece = expected_calibration_error(confidence, outcome)
    brier = [[(1.0 - sigmoid(a - b)) ** 2] for a, b in zip(chosen, rejected, strict=True)]
    bins = min(_BINS, len(confidence))
    return [
        Row(
            "ECE",
            Interval(ece, math.nan, math.nan, len(confidence), "no interval"),
            f"expected calibration error: each pair's confidence sigmoid(|difference of its scores|) against whether the "
            f"preferred side was the chosen one, in {bins} bins of equal mass; 0 is perfect",
            main=True,
            higher_is_better=False,
        ),
        Row(
            "ECE by chance",
            calibrated_ece(confidence, seed),
            "ECE of a perfectly calibrated model with these confidences: mean and central 95 % of simulated outcomes",
        ),
        Row(
            "Brier score",
            mean_interval(brier, seed),
            "mean of (1 - sigmoid(chosen - rejected)) squared; 0.25 for a constant model, 0 is perfect",
            higher_is_better=False,
        ),
    ]


def _length_rows(
    pairs: Sequence[PreferencePair], chosen: Sequence[float], rejected: Sequence[float], seed: int = 0
) -> list[Row]:
    """How far the score follows length: the correlation, and the accuracy where the chosen text is shorter and longer."""
    lengths = [(len(pair.chosen), len(pair.rejected)) for pair in pairs]
    table = list(zip(chosen, rejected, strict=True))
    short = [both for both, (a, b) in zip(table, lengths, strict=True) if a < b]
    long = [both for both, (a, b) in zip(table, lengths, strict=True) if a > b]
    return [
        Row(
            "length correlation",
            spearman_interval(table, lengths, seed),
            "Spearman's rank correlation of score and length in characters, over both sides of all pairs; pairs resampled",
            main=True,
        ),
        Row(
            "accuracy, chosen is shorter",
            _accuracy([a for a, _ in short], [b for _, b in short], seed),
            "pair accuracy where the chosen text is the shorter one",
            higher_is_better=True,
        ),
        Row(
            "accuracy, chosen is longer",
            _accuracy([a for a, _ in long], [b for _, b in long], seed),
            "pair accuracy where the chosen text is the longer one",
            higher_is_better=True,
        ),
    ]


def _damage_rows(scorer: Scorer, pairs: Sequence[PreferencePair], chosen: Sequence[float], seed: int = 0) -> list[Row]:
    """How often a chosen text scores above what is left of it when its end, or all of it, is taken away."""
    forms: list[tuple[str, str, Callable[[str], str]]] = [
        ("above its truncated form", "without the last third of its characters", truncated),
        ("above its empty form", "replaced by the empty text", lambda text: ""),
    ]
    rows = []
    for name, words, damage in forms:
        changed = [
            (sample_of(pair.prompt, damage(pair.chosen), pair.meta), whole)
            for pair, whole in zip(pairs, chosen, strict=True)
            if isinstance(pair.chosen, str) and damage(pair.chosen) != pair.chosen
        ]
        damaged = scores(scorer, [sample for sample, _ in changed]) if changed else []
        value = _accuracy([whole for _, whole in changed], damaged, seed)
        definition = f"share of chosen texts that score higher than the same text {words}; a tie counts half"
        rows.append(Row(name, value, definition, higher_is_better=True))
    return rows


def _invariance_rows(scorer: Scorer, pairs: Sequence[PreferencePair]) -> list[Row]:
    """Largest change of a score when a few texts are scored one by one, together, and with more padding."""
    texts = [
        sample_of(pair.prompt, side, pair.meta)
        for pair in pairs[: _PROBED // 2]
        for side in (pair.chosen, pair.rejected)
    ]
    alone = [scores(scorer, [text])[0] for text in texts]
    together = scores(scorer, texts)
    padded = _numbers(scorer.score_padded(texts, _EXTRA_PADDING))
    return [
        Row(
            "batch dependence",
            _largest([abs(a - b) for a, b in zip(alone, together, strict=True)], "maximum"),
            f"largest change of a score over {len(texts)} texts between scoring them one by one and in one batch",
            higher_is_better=False,
        ),
        Row(
            "padding dependence",
            _largest([abs(a - b) for a, b in zip(together, padded, strict=True)], "maximum"),
            f"largest change of a score over {len(texts)} texts when {_EXTRA_PADDING} padding tokens are added to each",
            higher_is_better=False,
        ),
    ]


def truncated(text: str) -> str:
    """The text without the last third of its characters (rounded up, so that a text of one character loses it)."""
    return text[: len(text) * 2 // 3]


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def swap_asymmetry(score: float, other: float) -> float:
    """|P(a over b) + P(b over a) - 1| with P = sigmoid of the difference of scores."""
    return abs(sigmoid(score - other) + sigmoid(other - score) - 1.0)


def folded(chosen: Sequence[float], rejected: Sequence[float]) -> tuple[list[float], list[float]]:
    """(confidence, outcome) of each pair, in a form that does not depend on which side is written first.

    As labelled, the outcome of every pair is "chosen wins", and no forecast of a constant can be told from a calibrated
    one. Seen from the side the model prefers there are two outcomes: confidence sigmoid(|difference|) in [0.5, 1], and
    1 if that side is the chosen one, 0 if not, one half if it prefers neither.
    """
    confidence = [sigmoid(abs(a - b)) for a, b in zip(chosen, rejected, strict=True)]
    return confidence, [preference(a, b) for a, b in zip(chosen, rejected, strict=True)]


def expected_calibration_error(confidence: Sequence[float], outcome: Sequence[float], bins: int = _BINS) -> float:
    """Mean over pairs of |mean confidence - mean outcome| of the pair's bin; bins of equal mass in order of confidence.

    With fewer pairs than bins every pair is its own bin. Equal confidences may fall into different bins; outcomes of such
    pairs are first averaged, so that their order does not matter.

    Source: Naeini et al. 2015 (AAAI); equal-mass bins: Nguyen & O'Connor 2015, arXiv 1508.05154.
    """
    import numpy as np

    if not confidence:
        raise DataError("no pairs to calibrate on")
    return float(_ece(np.asarray(confidence, float), np.asarray([outcome], float), bins)[0])


def calibrated_ece(confidence: Sequence[float], seed: int = 0, bins: int = _BINS) -> Interval:
    """ECE that chance alone gives: outcomes drawn with the confidences as their true probabilities, 1,000 times.

    The estimate is the mean, the bounds are the 2.5 % and 97.5 % quantiles. With finitely many pairs it is never 0, which
    is why an ECE needs it beside itself.
    """
    import numpy as np

    values = np.asarray(confidence, float)
    generator = np.random.default_rng(seed)
    blocks = (generator.random((size, len(values))) < values for size in blocks_of(_SIMULATIONS, len(values)))
    errors = np.concatenate([_ece(values, outcomes.astype(float), bins) for outcomes in blocks])
    low, high = np.quantile(errors, [0.025, 0.975])
    return Interval(float(errors.mean()), float(low), float(high), len(values), "simulation")


def _ece(confidence: ndarray, outcomes: ndarray, bins: int) -> ndarray:
    """ECE of each row of `outcomes` (R, N) under one vector of confidences (N,)."""
    import numpy as np

    order = np.argsort(confidence, kind="stable")
    confidence, outcomes = confidence[order], outcomes[:, order]
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    outcomes = (np.add.reduceat(outcomes, starts, axis=1) / sizes)[:, group]
    cut = np.linspace(0, len(confidence), min(bins, len(confidence)) + 1).astype(int)[:-1]
    return np.abs(np.add.reduceat(outcomes - confidence, cut, axis=1)).sum(axis=1) / len(confidence)


def spearman_interval(
    table: Sequence[tuple[float, float]], lengths: Sequence[tuple[int, int]], seed: int = 0
) -> Interval | None:
    """Spearman's rank correlation of scores and lengths with a 95 % percentile bootstrap interval over pairs.

    Args:
        table: (chosen, rejected) scores of each pair.
        lengths: their lengths, in the same order.

    Returns:
        None where it is not defined: all scores or all lengths are equal, or fewer than three pairs.
    """
    import numpy as np

    values, sizes = np.asarray(table, float), np.asarray(lengths, float)
    if len(values) < 3 or np.ptp(values) == 0 or np.ptp(sizes) == 0:
        return None
    generator, correlations = np.random.default_rng(seed), []
    for count in blocks_of(_RESAMPLES, 20 * len(values)):
        resampled = generator.integers(0, len(values), size=(count, len(values)))
        correlations.append(_spearman(values[resampled].reshape(count, -1), sizes[resampled].reshape(count, -1)))
    estimate = float(_spearman(values.reshape(1, -1), sizes.reshape(1, -1))[0])
    low, high = np.nanquantile(np.concatenate(correlations), [0.025, 0.975])
    return Interval(estimate, float(low), float(high), len(values), "bootstrap")


def _spearman(first: ndarray, second: ndarray) -> ndarray:
    """Pearson's correlation of the ranks (ties share their mean rank), row by row; NaN where a row is constant."""
    import numpy as np
    from scipy.stats import rankdata

    a, b = (rankdata(values, axis=1) for values in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def _largest(differences: Sequence[float], method: str) -> Interval:
    return Interval(max(differences), math.nan, math.nan, len(differences), method)


def card_json(rows: Sequence[Row]) -> dict[str, Any]:
    """`card.json`: the rows, in their order."""
    accuracy_of_pairs = rows[0].value
    return {"pairs": accuracy_of_pairs.n if accuracy_of_pairs else 0, "rows": [row.to_json() for row in rows]}
