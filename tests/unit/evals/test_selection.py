"""Choosing among samples: literal cases of every selector, and ties that are shared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.evals.selection import best_of, majority


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
    assert best_of(scores, correct) == pytest.approx(expected)


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
    assert majority(texts, correct) == expected


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=8))
def test_a_selector_that_knows_reaches_the_oracle_and_a_blind_one_the_mean(rows: list[tuple[float, float]]) -> None:
    correct = [right for _, right in rows]
    scores = [score for score, _ in rows]
    assert best_of(correct, correct) == max(correct)
    assert best_of([0.0] * len(rows), correct) == pytest.approx(sum(correct) / len(correct))
    assert min(correct) <= best_of(scores, correct) <= max(correct)
