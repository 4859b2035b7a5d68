"""Reading marked answers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.parsing.answers import extract_answer, has_answer_at_end, marked_answers

READINGS = [
    ("7+8=15\n#### 85", "85"),
    ("####85", "85"),
    ("#### 1,234  \nso there", "1,234"),
    ("#### 4\n#### 5", "5"),
    (r"Thus \boxed{7}.", "7"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{a\}b}", r"a\}b"),
    (r"\fbox{3}", "3"),
    (r"\framebox{3}", "3"),
    (r"\fboxed{3}", None),
    (r"we get \boxed 7 done", "7"),
    (r"we get $\boxed 7$.", "7"),
    (r"we get \boxed 12.", "12"),
    (r"we get \boxed{8}, not \boxed 7.", "7"),
    (r"$\boxed\frac{1}{2}$", r"\frac{1}{2}"),
    (r"option \fbox B", "B"),
    (r"in a \boxed way", None),
    ("<ANSWER>3</ANSWER>", "3"),
    (r"\boxed{3", None),
    ("<answer> 3 + 4 </answer>", "3 + 4"),
    ("<answer>two\nlines</answer>", "two\nlines"),
    ("<answer>never closed", None),
    ("<answer>a</answer> no, <answer>b</answer>", "b"),
    ("<answer>#### 5</answer>", "5"),
    (r"#### \boxed{7}", "7"),
    (r"\boxed{6} and so" + "\n#### 7", "7"),
    ("####\n", None),
    ("##### a heading", None),
    ("### a heading", None),
    ("Answer: 85", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "answer"), READINGS)
def test_the_last_marked_answer_is_read(text, answer):
    assert extract_answer(text) == answer


FORMS = [
    ("1+1=2\n#### 2", True),
    (r"So $\boxed{2}$.", True),
    ("<answer>#### 2</answer>\n", True),
    ("#### 2\nThat is it.", False),
    ("#### 2\n#### 2", False),
    ("2", False),
]


@pytest.mark.parametrize(("text", "well_formed"), FORMS)
def test_a_completion_is_well_formed_when_its_one_marked_answer_ends_it(text, well_formed):
    assert has_answer_at_end(text) is well_formed


@given(st.text(alphabet="#\\boxed{}<answer/> 1\n", max_size=60))
def test_any_text_can_be_read_and_spans_are_ordered_and_disjoint(text):
    found = marked_answers(text)
    assert all(mark.answer == mark.answer.strip() != "" for mark in found)
    assert all(mark.answer in text[mark.start : mark.end] for mark in found)
    assert all(left.end <= right.start for left, right in itertools.pairwise(found))


@given(st.text(alphabet="0123456789+-*/() abc", min_size=1).map(str.strip).filter(bool))
def test_an_answer_written_with_any_marker_is_read_back(answer):
    for form in ("work\n#### {}", "so <answer>{}</answer>", r"so \boxed{{{}}}"):
        assert extract_answer(form.format(answer)) == answer


def test_boxes_that_never_close_are_read_in_no_time() -> None:
    assert marked_answers("\\boxed{" * 50_000) == []
