"""What a judge is asked, and what is read out of its reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.parsing.judge_prompts import comparison, rating, read_rating, read_verdict, well_formed

VERDICTS = [
    ("A is wrong.\nVerdict: B", "B"),
    ("verdict: a", "A"),
    ("**Verdict: B**", "B"),
    ("**Verdict:** A", "A"),
    ("Verdict: [[A]]", "A"),
    ("Verdict: (B).", "B"),
    ("Verdict: `B`", "B"),
    ("Verdict = Answer A", "A"),
    ("B says 'Verdict: A'\nVerdict: B", "B"),
    ("Verdict: A\r\n", "A"),
    ("Verdict: A\nVerdict: B", "B"),
    ("Verdict: A or B", None),
    ("Verdict: A is better", None),
    ("Verdict: C", None),
    ("Verdict: Both", None),
    ("The verdict is A", None),
    ("A", None),
    ("", None),
]


@pytest.mark.parametrize(("reply", "verdict"), VERDICTS)
def test_the_last_verdict_that_ends_its_line_counts(reply: str, verdict: str | None) -> None:
    assert read_verdict(reply) == verdict


RATINGS = [
    ("Fine.\nScore: 7", 7.0),
    ("Score: 8/10", 8.0),
    ("**Rating: 9.5**", 9.5),
    ("Score: 3\nScore: 4", 4.0),
    ("Score: 0", None),
    ("Score: 11", None),
    ("Score: 7 or 8", None),
    ("7", None),
    ("", None),
]


@pytest.mark.parametrize(("reply", "value"), RATINGS)
def test_a_score_outside_of_1_to_10_is_not_read(reply: str, value: float | None) -> None:
    assert read_rating(reply) == value


FORMS = [
    ("A carries right.\nVerdict: A", True),
    ("Verdict: A", False),
    (" \n Verdict: A", False),
    ("Good.\nVerdict: A\nand more", False),
    ("Good. Verdict: A\nVerdict: A", False),
    ("Good.", False),
]


@pytest.mark.parametrize(("reply", "right"), FORMS)
def test_the_form_is_a_critique_and_one_final_verdict(reply: str, right: bool) -> None:
    assert well_formed(reply) is right


def test_a_question_shows_the_prompt_both_answers_and_the_rubric() -> None:
    text = comparison([{"role": "user", "content": "1 + 1?"}], "two", "three", "Be strict.")
    assert text.startswith("Which answer is better? Be strict.\nQuestion: 1 + 1?\n[A]\ntwo\n[B]\nthree\n[end]\n")
    assert "correct answer" in comparison("1 + 1?", "two", "three")


@given(st.text(), st.text())
def test_braces_and_slots_in_an_answer_stay_what_they_are(first: str, second: str) -> None:
    text = comparison("{prompt} {rubric}", first, second)
    assert f"[A]\n{first.strip()}\n[B]\n{second.strip()}\n[end]" in text
    assert "Question: {prompt} {rubric}\n" in text
    assert "[answer]\n{first}\n" in rating("q", "{first}")


@given(st.text())
def test_any_reply_can_be_read(reply: str) -> None:
    assert read_verdict(reply) in ("A", "B", None)
    value = read_rating(reply)
    assert value is None or 1 <= value <= 10
