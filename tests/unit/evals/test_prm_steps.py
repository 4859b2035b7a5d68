"""Finding the first wrong step: literal cases, chance by hand, and the AUC against a count of all pairs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.records import StepwiseSolution
from rlllm.evals.metrics.prm_steps import Judged, first_error_chance, step_auc

RIGHT, LATE, EARLY = (True, True, True), (True, True, False), (False, False)


def judged(labels: tuple[bool, ...], chances: list[float]) -> Judged:
    return Judged(StepwiseSolution("p", tuple("abc"[: len(labels)]), labels), chances)


@pytest.mark.parametrize(
    ("labels", "chances", "found", "agreement"),
    [
        (RIGHT, [0.9, 0.8, 0.5], 1.0, [1, 1, 1]),  # one half counts as right
        (RIGHT, [0.9, 0.8, 0.4], 0.0, [1, 1, 0]),
        (LATE, [0.9, 0.8, 0.4], 1.0, [1, 1, 1]),
        (LATE, [0.9, 0.4, 0.1], 0.0, [1, 0, 1]),
        (LATE, [0.9, 0.9, 0.9], 0.0, [1, 1, 0]),
        (EARLY, [0.1, 0.9], 1.0, [1, 0]),  # what comes after the first error does not count
    ],
)
def test_the_first_wrong_step_is_found_or_not(
    labels: tuple[bool, ...], chances: list[float], found: float, agreement: list[float]
) -> None:
    one = judged(labels, chances)
    assert one.found == found
    assert one.agreement == agreement


@pytest.mark.parametrize(
    ("solutions", "rule", "scores"),
    [
        ([RIGHT, RIGHT, LATE], "always none", [1, 1, 0]),
        ([RIGHT, LATE, LATE, (True, False)], "always the last step", [0, 1, 1, 1]),
        ([EARLY, EARLY, RIGHT, (False, False, False)], "always step 1", [1, 1, 0, 1]),
        ([(True,), (False,)], "always none", [1, 0]),
        ([(True, False, False), (True, True, False), (True, True), (False, False)], "uniform guess", [1 / 4] * 2),
    ],
)
def test_chance_is_the_best_guess_that_reads_nothing(
    solutions: list[tuple[bool, ...]], rule: str, scores: list[float]
) -> None:
    chance = first_error_chance(solutions)
    assert chance.rule == rule
    assert chance.scores[: len(scores)] == scores


SOLUTIONS = st.lists(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
)


@given(SOLUTIONS)
def test_the_auc_is_the_share_of_pairs_that_are_ordered_right(drawn: list[list[tuple[bool, float]]]) -> None:
    steps = [step for solution in drawn for step in solution]
    right, wrong = ([score for label, score in steps if label is side] for side in (True, False))
    auc = step_auc([([label for label, _ in one], [score for _, score in one]) for one in drawn])
    if not right or not wrong:
        assert auc is None
        return
    wins = sum(0.5 if a == b else float(a > b) for a in right for b in wrong)
    assert auc is not None
    assert auc.estimate == pytest.approx(wins / (len(right) * len(wrong)))
    assert 0 <= auc.low <= auc.high <= 1


def test_an_auc_of_many_solutions_has_an_interval_around_it() -> None:
    auc = step_auc([((True, False), (0.5 + shift, 0.5 - shift)) for shift in (0.3, 0.2, -0.1, 0.4, -0.2) * 8])
    assert auc is not None
    assert auc.low < auc.estimate < auc.high
    assert auc.n == 40
