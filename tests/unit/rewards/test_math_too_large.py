"""Answers that a computer algebra system would write out for hours are judged at once, without one."""

from __future__ import annotations

import time

import pytest

from rlllm.core.records import Sample
from rlllm.rewards.math.canonical import canonical
from rlllm.rewards.math.reward import Math
from rlllm.rewards.math.size import too_large

LARGE = [
    "9^9^9^9",
    "9^{9^{9^9}}",
    "9**9**9**9",
    "2^{3^{4^{5}}}x",
    "10^{10^{10}}",
    "(9^9)^{9^9}",
    "5!!!",
    "((5!)!)!",
    "100000000!",
    "10^8!",
    "(10^8)!",
    "\\frac{100000000!}{99999999!}",
    "\\sin(9^{9^{9}})",
    "[9^9^9, 3]",
    "x + 999999999!",
    "99999^{99999}",
    "\\binom{10^9}{10^8}",
    "{10^9 \\choose 10^8}",
    "\\dbinom{\\binom{100}{50}}{\\binom{60}{30}}",
    "\\binom{10^{30}}{5000}",
    "\\sum_{i=1}^{10^9} \\frac{1}{i}",
    "\\sum\\limits_{i = 1}^{10^{9}} i!",
    "\\sum^{1000000}_{k=0} \\sin(k)",
    "\\sum_{k=1}^{10^6} 3^k",
    "\\sum_{i=1}^{1000} \\sum_{j=1}^{1000} \\frac{1}{i+j}",
    "\\prod_{i=1}^{10^9} i",
    "\\prod_{i=1}^{10^5} (i+1)",
    "1 + \\prod_{i=1}^{3 \\cdot 10^6} \\frac{i}{i+1}",
    "\\prod_{i=1}^{100} \\prod_{j=1}^{100} i",
    "\\binom{5!!}{3!!}",
]
SMALL = [
    *("5", "5!", "5!!", "3!!!", "20!", "1000!", "2^{64}", "2^{1000}", "10^{100}", "x^{10^{10}}", "2^{x^{99}}"),
    *("\\frac{1}{2}", "1^{10^{9}}", "e^{10^6}", "(2^3)^4", "10!/8!", "3 + 4!", "{1,2}", "0^0", "0.5^{100}"),
    *(
        "\\sum_{i=1}^{10^9} i",
        "\\sum_{i=1}^{10^9} i^2",
        "\\sum_{k=1}^{20000} \\frac{k}{2}",
        "\\sum_{i=1}^{100} \\frac{1}{i}",
    ),
    *(
        "\\sum_{n=1}^{\\infty} \\frac{1}{n^2}",
        "\\sum_{i=1}^n i!",
        "\\prod_{i=1}^{10} i",
        "\\sum_{i=1}^{100} i! + \\sum_{i=1}^{100} i!",
    ),
    *(
        "\\binom{10}{3}",
        "\\binom{10^9}{2}",
        "\\binom{n}{10^9}",
        "\\binom 5 2",
        "\\binom{3}{5}",
        "\\sum",
        "\\sum_{i=1}^{",
        "\\binom",
    ),
    *("!", "^", "9^", "^9^9", "(((", ""),
]


@pytest.mark.parametrize("text", LARGE)
def test_a_number_of_too_many_digits_is_seen_as_it_is_written(text: str) -> None:
    assert too_large(canonical(text))


@pytest.mark.parametrize("text", SMALL)
def test_what_can_be_written_out_is_not_too_large(text: str) -> None:
    assert not too_large(canonical(text))


def test_a_batch_of_them_is_scored_within_a_tenth_of_a_second_a_sample() -> None:
    answers = [text for text in LARGE if "x" not in text]
    samples = [Sample("How many?", f"The answer is \\boxed{{{text}}}.", "42") for text in answers]
    reward = Math()
    began = time.process_time()
    scores = reward.score_batch(samples)
    assert time.process_time() - began < 0.1 * len(samples)
    assert [score.value for score in scores] == [0.0] * len(samples)
    assert {score.note for score in scores} <= {
        "too large to be compared",
        "several answers to choose from",
        None,
    }


def test_a_reference_that_is_too_large_is_compared_as_text_alone() -> None:
    reward = Math()
    assert reward(Sample("?", "\\boxed{100000000!}", "100000000!")).value == 1.0
    score = reward(Sample("?", "\\boxed{x + 1}", "100000000! + x"))
    assert (score.value, score.note) == (None, "the reference is too large to be compared")
