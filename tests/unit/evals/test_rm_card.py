"""The card's numbers against NumPy, SciPy and literal cases, on scorers whose every property is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, Sample, Score
from rlllm.evals.rm_card import (
    Row,
    calibrated_ece,
    card,
    card_json,
    expected_calibration_error,
    folded,
    sigmoid,
    spearman_interval,
    swap_asymmetry,
    truncated,
)

NUMBERS = st.floats(-20, 20, allow_nan=False)


@dataclass
class Known:
    """A scorer by formula; `leak` adds that much of the batch's size and padding to every score."""

    rule: Callable[[str], float]
    leak: float = 0.0

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        return self.score_padded(samples, 0)

    def score_padded(self, samples: Sequence[Sample], padding: int) -> list[Score]:
        return [Score(self.rule(one.completion) + self.leak * (len(samples) + padding)) for one in samples]


PAIRS = [
    PreferencePair("a", "long and right", "short"),
    PreferencePair("b", "right", "long and wrong"),
    PreferencePair("c", "same1", "same2"),
    PreferencePair("d", "x", "four"),
]


def made(rule: Callable[[str], float], leak: float = 0.0, pairs: Sequence[PreferencePair] = PAIRS) -> dict[str, Row]:
    chosen, rejected = [rule(pair.chosen) for pair in pairs], [rule(pair.rejected) for pair in pairs]
    return {row.name: row for row in card(Known(rule, leak), pairs, chosen, rejected)}


def estimate(rows: dict[str, Row], name: str) -> float:
    value = rows[name].value
    assert value is not None
    return value.estimate


def test_a_score_that_is_the_length_is_known_by_its_card() -> None:
    rows = made(lambda text: float(len(text)))
    assert estimate(rows, "pair accuracy") == (1 + 0 + 0.5 + 0) / 4
    assert estimate(rows, "length correlation") == pytest.approx(1)
    assert estimate(rows, "accuracy, chosen is longer") == 1
    assert estimate(rows, "accuracy, chosen is shorter") == 0
    assert estimate(rows, "above its truncated form") == 1
    assert estimate(rows, "above its empty form") == 1
    assert estimate(rows, "batch dependence") == estimate(rows, "padding dependence") == 0
    assert estimate(rows, "swap asymmetry") == pytest.approx(0, abs=1e-15)


def test_a_constant_score_has_no_correlation_and_half_of_everything() -> None:
    rows = made(lambda text: 3.0)
    assert rows["length correlation"].value is None
    assert estimate(rows, "Brier score") == 0.25
    assert estimate(rows, "ECE") == 0
    for name in ("pair accuracy", "above its truncated form", "above its empty form"):
        assert estimate(rows, name) == 0.5


def test_a_score_that_depends_on_the_batch_and_on_padding_is_shown_by_how_much() -> None:
    rows = made(lambda text: 0.0, leak=0.01)
    assert estimate(rows, "batch dependence") == pytest.approx(0.07)
    assert estimate(rows, "padding dependence") == pytest.approx(0.07)


def test_texts_that_damage_cannot_change_are_left_out() -> None:
    rows = made(lambda text: float(len(text)), pairs=[PreferencePair("a", "", "b"), PreferencePair("a", "abc", "b")])
    value = rows["above its empty form"].value
    assert value is not None
    assert (value.estimate, value.n) == (1, 1)


def test_a_text_without_a_finite_score_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no finite score"):
        card(Known(lambda text: math.nan), PAIRS, [1.0] * 4, [0.0] * 4)


def test_every_row_says_what_it_is_and_fits_json() -> None:
    written = card_json(list(made(len).values()))
    assert written["pairs"] == 4
    assert all(len(row["definition"]) > 20 for row in written["rows"])
    assert [row["name"] for row in written["rows"] if row["main"]] == ["pair accuracy", "ECE", "length correlation"]
    bounds = [row["value"][end] for row in written["rows"] if row["value"] for end in ("low", "high")]
    assert all(bound is None or math.isfinite(bound) for bound in bounds)


ECE: list[tuple[str, list[float], list[float], int, float]] = [
    ("always sure and right", [1.0, 1.0], [1, 1], 10, 0.0),
    ("always sure and wrong", [1.0, 1.0], [0, 0], 10, 1.0),
    ("right as often as it says, in one bin", [0.75] * 4, [1, 1, 1, 0], 1, 0.0),
    ("equal confidences are one group, however many bins", [0.75] * 4, [1, 1, 1, 0], 4, 0.0),
    ("two bins, off by 0.1 and by 0.4", [0.6, 0.6, 0.9, 0.9], [1, 0, 1, 0], 2, 0.25),
    ("errors of one bin cancel", [0.6, 0.8], [0, 1], 1, 0.2),
]


@pytest.mark.parametrize(("case", "confidence", "outcome", "bins", "expected"), ECE, ids=[row[0] for row in ECE])
def test_calibration_error(
    case: str, confidence: list[float], outcome: list[float], bins: int, expected: float
) -> None:
    assert expected_calibration_error(confidence, outcome, bins) == pytest.approx(expected)


def test_calibration_error_is_that_of_numpy_where_no_two_confidences_are_equal() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 103)
    outcome = (generator.random(103) < confidence).astype(float)
    order = np.argsort(confidence)
    cuts = np.linspace(0, 103, 11).astype(int)
    bins = [order[low:high] for low, high in pairwise(cuts)]
    oracle = sum(len(b) / 103 * abs(confidence[b].mean() - outcome[b].mean()) for b in bins)
    assert expected_calibration_error(list(confidence), list(outcome)) == pytest.approx(oracle)


def test_a_calibrated_model_lies_within_what_chance_gives_about_as_often_as_said() -> None:
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.5, 1, 200)
    chance = calibrated_ece(list(confidence))
    drawn = [list((generator.random(200) < confidence).astype(float)) for _ in range(300)]
    found = [expected_calibration_error(list(confidence), outcome) for outcome in drawn]
    inside = [chance.low <= value <= chance.high for value in found]
    assert 0.91 <= np.mean(inside) <= 0.985
    assert chance.estimate == pytest.approx(np.mean(found), abs=0.003)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30))
@settings(max_examples=50)
def test_calibration_does_not_depend_on_which_side_is_written_first(pairs: list[tuple[float, float]]) -> None:
    confidence, outcome = folded([a for a, _ in pairs], [b for _, b in pairs])
    swapped, opposite = folded([b for _, b in pairs], [a for a, _ in pairs])
    assert swapped == confidence
    assert [1 - one for one in opposite] == outcome
    assert all(0.5 <= one <= 1 for one in confidence)


@given(NUMBERS, NUMBERS)
def test_a_model_that_scores_one_text_is_symmetric(score: float, other: float) -> None:
    assert swap_asymmetry(score, other) == pytest.approx(0, abs=1e-12)
    assert sigmoid(score) == pytest.approx(1 / (1 + np.exp(-score)))


def test_length_correlation_is_that_of_scipy_with_ties() -> None:
    generator = np.random.default_rng(2)
    lengths = generator.integers(1, 20, size=(60, 2))
    scores = lengths * 0.1 + generator.normal(size=(60, 2)).round(1)
    found = spearman_interval([tuple(row) for row in scores], [tuple(row) for row in lengths])
    assert found is not None
    assert found.estimate == pytest.approx(spearmanr(scores.ravel(), lengths.ravel()).statistic)
    assert -1 <= found.low < found.estimate < found.high <= 1
    assert found.low > 0


def test_an_interval_of_a_correlation_covers_zero_where_there_is_none_about_as_often_as_said() -> None:
    generator, covered = np.random.default_rng(3), 0
    for _ in range(60):
        scores, lengths = generator.normal(size=(40, 2)), generator.integers(1, 50, size=(40, 2))
        found = spearman_interval([tuple(row) for row in scores], [tuple(row) for row in lengths])
        assert found is not None
        covered += found.low <= 0 <= found.high
    assert covered >= 52


def test_truncation_takes_the_last_third() -> None:
    assert [truncated(text) for text in ("abcdef", "abcd", "a", "")] == ["abcd", "ab", "", ""]


def test_a_card_of_many_pairs_draws_in_blocks() -> None:
    from rlllm.evals.statistics.intervals import blocks_of

    assert sum(blocks_of(1000, 500_000)) == 1000
    assert max(blocks_of(1000, 500_000)) * 500_000 <= 2_000_000
    assert blocks_of(3, 10**9) == [1, 1, 1]
