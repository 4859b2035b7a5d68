"""The simulated annotator's true taste."""

import pytest

from rlllm.core.records import Sample
from rlllm.data.procedural.gold_utility import appraise, gold_utility

UTILITIES = [
    ("#### 85", 1.75),
    ("#### 86", 0.75),
    ("Answer: 85", 0.25),
    ("#### 85\nThat is it.", 1.25),
    ("#### 85\n#### 85", 1.25),
    ("x" * 53 + "#### 85", 1.625),
    ("x" * 200 + "#### 85", 1.5),
    ("", 0.25),
]


@pytest.mark.parametrize(("completion", "utility"), UTILITIES)
def test_utility_is_correctness_then_form_then_brevity(completion, utility):
    assert gold_utility(Sample("47 + 38", completion, "85")) == utility


def test_a_countdown_solution_is_checked_by_its_expression_not_by_the_reference():
    meta = {"numbers": [3, 5, 8], "target": 16}
    right, wrong = (appraise(Sample("", f"#### {text}", "3+5+8", meta)) for text in ("8+5+3", "8*5+3"))
    assert (right.correct, wrong.correct) == (True, False)


def test_a_row_without_an_answer_cannot_be_judged():
    assert gold_utility(Sample("Write a poem.", "#### 1")) is None


def test_no_form_makes_up_for_a_wrong_answer():
    worst_correct = gold_utility(Sample("", "x" * 300 + "#### 1\nand on", "1"))
    best_wrong = gold_utility(Sample("", "#### 2", "1"))
    assert worst_correct > best_wrong
