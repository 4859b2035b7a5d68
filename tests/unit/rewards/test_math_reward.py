"""The `math` reward against a literal table, its time limit, and its use outside the main thread."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.math import Math

MATH = [
    # completion, reference, value
    ("\\boxed{\\frac{2}{4}}", "\\frac{1}{2}", 1.0),
    ("#### 0.5", "1/2", 1.0),
    ("#### 7", "7", 1.0),
    ("#### 8", "7", 0.0),
    ("the answer is 42", "42", 1.0),
    ("the answer is 41", "42", 0.0),
    ("", "42", 0.0),
    ("   ", "42", 0.0),
    ("no idea", "42", 0.0),
    ("#### ???", "42", 0.0),
    ("\\boxed{1 + x}", "x+1", 1.0),
    ("\\boxed{x - 1}", "x+1", 0.0),
    ("\\boxed{2\\sqrt{2}}", "\\sqrt{8}", 1.0),
    ("#### 1234", "1,234", 1.0),
    ("#### x=3", "3", 1.0),
    ("#### 3", "x=3", 1.0),
    ("\\boxed{\\{2, 1\\}}", "\\{1, 2\\}", 1.0),
    ("\\boxed{(1, 2)}", "(1,2)", 1.0),
    ("\\boxed{(2, 1)}", "(1,2)", 0.0),
    ("\\boxed{5}\n\\boxed{7}", "7", 1.0),
    ("\\boxed{7}\n\\boxed{5}", "7", 0.0),
    ("#### 7", "so 3 + 4\n#### 7", 1.0),
    ("#### 7", "???", None),
    ("#### 7", "", None),
    ("#### 7", None, None),
    ("#### \ud800", "7", 0.0),
]


@pytest.mark.parametrize(("completion", "reference", "value"), MATH)
def test_math_compares_answers_as_mathematics(completion: str, reference: str | None, value: float | None) -> None:
    assert Math()(Sample("question", completion, reference)).value == value


def test_math_notes_an_answer_it_cannot_read() -> None:
    score = Math()(Sample("question", "no idea", "42"))
    assert (score.value, score.note) == (0.0, "unreadable answer")


def test_math_works_outside_the_main_thread() -> None:
    with ThreadPoolExecutor(2) as pool:
        samples = [Sample("question", f"#### {number}", "3") for number in range(8)]
        assert [score.value for score in pool.map(Math(), samples)] == [0, 0, 0, 1, 0, 0, 0, 0]


def test_math_gives_up_on_an_answer_that_takes_for_ever_and_goes_on_with_the_next() -> None:
    reward = Math(timeout=1.0)
    reward(Sample("question", "#### 7", "7"))
    start = time.monotonic()
    score = reward(Sample("question", "\\boxed{9^{9^{9^{9}}}}", "7"))
    assert time.monotonic() - start < 5.0
    assert (score.value, score.note) == (0.0, "the comparison took longer than 1 s")
    assert reward(Sample("question", "#### 7", "7")).value == 1.0


def test_math_refuses_a_time_limit_of_zero() -> None:
    with pytest.raises(ConfigError, match="timeout must be positive"):
        Math(timeout=0)
