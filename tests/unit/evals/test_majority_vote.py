"""Choosing among samples: literal cases of every way, brute force over subsets, and bounds that hold for any samples."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.evals.statistics.calibration import majority_share
from rlllm.evals.statistics.majority_vote import (
    MAX_SUBSETS,
    best_of_k,
    majority,
    marked,
    over_subsets,
    vote_weights,
    weighted_majority,
)
from rlllm.evals.statistics.pass_estimators import pass_at_k

SCORES = st.sampled_from([None, -1.0, 0.0, 0.5, 0.5, 2.0])
ROWS = st.lists(st.tuples(SCORES, st.sampled_from([0.0, 1.0])), min_size=1, max_size=7)


@pytest.mark.parametrize(
    ("scores", "correct", "expected"),
    [
        ([0.1, 0.9, 0.5], [0, 1, 0], 1.0),
        ([0.1, 0.9, 0.5], [1, 0, 1], 0.0),
        ([0.9, 0.9, 0.5], [1, 0, 1], 0.5),
        ([None, -3.0, -5.0], [1, 0, 1], 0.0),
        ([None, None, None], [1, 0, 0], 1 / 3),
        ([0.0, None], [1, 0], 1.0),
    ],
)
def test_the_highest_score_is_chosen_and_ties_are_shared(
    scores: list[float | None], correct: list[float], expected: float
) -> None:
    assert best_of_k(scores, correct, len(scores)) == pytest.approx(expected)


@given(ROWS, st.data())
def test_best_of_k_is_the_mean_of_best_of_over_all_subsets(
    rows: list[tuple[float | None, float]], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(rows)))
    subsets = [list(zip(*subset, strict=True)) for subset in combinations(rows, k)]
    wanted = np.mean([_plain_best(scores, correct) for scores, correct in subsets])
    assert best_of_k([score for score, _ in rows], [right for _, right in rows], k) == pytest.approx(wanted)


def _plain_best(scores: tuple[float | None, ...], correct: tuple[float, ...]) -> float:
    ranks = np.array([-np.inf if value is None else value for value in scores])
    return float(np.array(correct)[ranks == ranks.max()].mean())


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40), st.data())
def test_a_selector_that_knows_reaches_pass_at_k_and_a_blind_one_the_mean(
    correct: list[float], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(correct)))
    assert best_of_k(correct, correct, k) == pytest.approx(pass_at_k(len(correct), int(sum(correct)), k))
    assert best_of_k([0.0] * len(correct), correct, k) == pytest.approx(sum(correct) / len(correct))


def test_the_same_number_is_one_answer_however_it_is_written() -> None:
    answers = [r"\frac{1}{2}", "0.50", "1/2", "3", "3", "50%"]
    assert majority(answers, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) == 1.0
    assert majority(["b  c", "b c", "c"], [1.0, 1.0, 0.0]) == 1.0
    assert majority_share(answers) == 0.5


@pytest.mark.parametrize(
    ("texts", "correct", "expected"),
    [
        (["#### 4", "#### 4", "#### 5"], [1, 1, 0], 1.0),
        (["#### 4", "#### 5", "#### 5"], [1, 0, 0], 0.0),
        (["#### 4", "#### 5", "so 4"], [1, 0, 1], 0.5),
        (["4", "5"], [1, 0], 0.0),
        (["1+3=4\n#### 4", "#### 4 ", "#### 7", "#### 7", "#### 7"], [1, 1, 0, 0, 0], 0.0),
    ],
)
def test_the_majority_is_over_marked_answers(texts: list[str], correct: list[float], expected: float) -> None:
    assert majority(marked(texts), correct) == expected


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.9, 0.4, 0.4], 1.0),
        ([0.7, 0.4, 0.4], 0.0),
        ([0.8, 0.4, 0.4], 0.5),
        ([0.0, 0.0, 0.0], 0.5),
    ],
)
def test_votes_are_weighed(weights: list[float], expected: float) -> None:
    assert weighted_majority(["4", "5", "5"], [1, 0, 0], weights) == expected


@given(st.lists(st.tuples(st.sampled_from("ab") | st.none(), st.sampled_from([0.0, 1.0])), min_size=1, max_size=8))
def test_equal_weights_are_the_majority(rows: list[tuple[str | None, float]]) -> None:
    answers, correct = zip(*rows, strict=True)
    assert weighted_majority(answers, correct, [0.25] * len(rows)) == majority(answers, correct)


def test_scores_in_the_unit_interval_are_weights_and_others_become_chances() -> None:
    assert vote_weights([[0.2, None], [1.0, 0.0]]) == [[0.2, 0.0], [1.0, 0.0]]
    weights = vote_weights([[0.0, 3.0], [-800.0, 800.0]])
    np.testing.assert_allclose(weights, [[0.5, 1 / (1 + np.exp(-3.0))], [0.0, 1.0]], atol=1e-12)


def test_subsets_are_enumerated_while_they_are_few_and_drawn_evenly_where_they_are_many() -> None:
    seen: Counter[tuple[int, ...]] = Counter()
    over_subsets(lambda subset: seen.update([tuple(subset)]) or 0.0, 8, 3, seed=0)
    assert seen == Counter(combinations(range(8), 3))
    share = over_subsets(lambda subset: float(0 in subset), 24, 6, seed=0)
    assert share == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / MAX_SUBSETS) ** 0.5)
    assert share == over_subsets(lambda subset: float(0 in subset), 24, 6, seed=0)


def test_the_majority_of_one_is_the_mean_of_those_who_vote_and_more_voters_help_who_is_mostly_right() -> None:
    answers, correct = ["4", "4", "4", "5", None], [1.0, 1.0, 1.0, 0.0, 0.0]

    def at(k: int) -> float:
        return over_subsets(lambda s: majority([answers[i] for i in s], [correct[i] for i in s]), 5, k, seed=0)

    assert at(1) == pytest.approx(0.6)
    assert at(1) < at(3) < at(5) == 1.0


def test_best_of_two_of_independent_samples_is_unbiased() -> None:
    """Over many problems of 6 samples, best-of-2 by the formula has the mean of fresh draws of 2."""
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 4, size=(4000, 6)).astype(float)
    correct = (generator.random((4000, 6)) < scores / 4).astype(float)
    formula = np.mean([best_of_k(s, c, 2) for s, c in zip(scores.tolist(), correct.tolist(), strict=True)])
    chances = [max(a, b) / 4 for a, b in product(range(4), repeat=2)]
    assert formula == pytest.approx(np.mean(chances), abs=0.012)
