"""The exact path of the `math` reward: what it reads, what it leaves, and math-verify's agreement with every verdict."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlllm.rewards.math.answer_extraction import is_single, offers_several, read_answer
from rlllm.rewards.math.latex_comparison import exactly_equal, read_exact

EXACT = [
    # reference, answer, equal
    ("7", "7", True),
    ("7", "+7", True),
    ("7", "007", True),
    ("7", "-7", False),
    ("7", "7.00", True),
    ("7", "7.5", False),
    ("0", "-0", True),
    ("1234", "1,234", True),
    ("1234", "$1,234", True),
    ("1234", "\\$1{,}234", True),
    ("18", "18 \\text{ dollars}", True),
    ("18", "18\\text{ cm}^2", True),
    ("18", "18\\text{ percent}", None),
    ("90", "90^\\circ", True),
    ("\\frac{1}{2}", "1/2", True),
    ("\\frac{1}{2}", "\\dfrac{2}{4}", True),
    ("\\frac{1}{2}", "\\frac12", True),
    ("\\frac{1}{2}", "0.5", True),
    ("\\frac{1}{2}", "\\frac{1}{3}", False),
    ("\\frac{1}{2}", "-\\frac{1}{2}", False),
    ("\\frac{1}{3}", "0.333333", None),
    ("\\frac{1}{3}", "0.33", False),
    ("50", "50\\%", True),
    ("50\\%", "\\frac{1}{2}", True),
    ("1", "100\\%", None),
    ("-50", "-50\\%", None),
    ("\\sqrt{8}", "2\\sqrt{2}", True),
    ("\\sqrt{8}", "2\\sqrt{3}", False),
    ("2", "\\sqrt{4}", None),
    ("\\frac{\\pi}{2}", "\\frac{1}{2}\\pi", True),
    ("3.14", "\\pi", False),
    ("(1,2)", "\\left(1, 2\\right)", True),
    ("(1,2)", "(2,1)", False),
    ("(1,2)", "1,2", None),
    ("[1,2)", "[1, 2)", True),
    ("[1,2)", "[1, 2]", False),
    ("\\{1,2\\}", "2, 1", True),
    ("3", "3, 4", False),
    ("3", "1, 1", None),
    ("12", "1 2", None),
    ("1/0", "1", None),
    ("7", "x", None),
    ("7", "\uff17", None),
    ("7", "", None),
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("reference", "answer", "equal"), EXACT)
def test_simple_answers_are_compared_exactly_or_left(reference: str, answer: str, equal: bool | None) -> None:
    assert exactly_equal(reference, answer) is equal
    assert equal is None or math_verify_says(reference, answer) is equal


whole = st.integers(0, 2000).map(str) | st.integers(0, 12).map(str)
positive = st.integers(1, 30).map(str)
sign = st.sampled_from(["", "", "-"])
number = st.one_of(
    whole,
    st.builds("{}{}".format, sign, whole),
    st.builds("{}{}.{}".format, sign, whole, st.sampled_from(["0", "5", "25", "00", "333333"])),
    st.builds("{}{},{:03d}".format, sign, st.integers(1, 9), st.integers(0, 20)),
    st.builds("{}\\frac{{{}}}{{{}}}".format, sign, positive, positive),
    st.builds("\\dfrac{{{}{}}}{{{}}}".format, sign, positive, positive),
    st.builds("{}{}/{}".format, sign, positive, positive),
    st.builds("{}{}\\sqrt{{{}}}".format, sign, st.sampled_from(["", "2", "3 "]), st.integers(0, 20)),
    st.builds("{}\\frac{{{}\\sqrt{{{}}}}}{{{}}}".format, sign, st.sampled_from(["", "2"]), positive, positive),
    st.builds("{}{}\\pi".format, sign, st.sampled_from(["", "0", "1", "2", "3 "])),
    st.builds("{}{}".format, st.sampled_from(["1", "2", "50", "0.5", "12.5", "-3"]), st.sampled_from(["%", "\\%", " %"])),
)  # fmt: skip
worn = st.builds(
    str.replace,
    st.sampled_from(["N", "N", "$N$", "\\$N", "N\\text{ cm}", "N^\\circ", "N \\text{ sq units}", " N "]),
    st.just("N"),
    number,
)
small = st.integers(-2, 3).map(str) | st.builds("\\frac{{{}}}{{{}}}".format, positive, positive) | st.just("1/2")
listed = st.builds(
    lambda ends, items, comma: ends[0] + comma.join(items) + ends[1],
    st.sampled_from([("", ""), ("(", ")"), ("[", "]"), ("(", "]"), ("\\{", "\\}"), ("\\left(", "\\right)")]),
    st.lists(small, min_size=2, max_size=3),
    st.sampled_from([",", ", "]),
)
answers = worn | listed


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(answers, answers, st.integers(0, 2))
def test_every_exact_verdict_is_math_verifys(reference: str, answer: str, same: int) -> None:
    for pair in [(reference, answer), (reference, reference.strip(" $"))][: 1 + (same == 0)]:
        verdict = exactly_equal(*pair)
        assert verdict is None or verdict is math_verify_says(*pair), pair


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_breaks_the_readers(text: str) -> None:
    for form in (text, f"#### {text}", f"\\boxed{{{text}}}", f"answer: {text}"):
        read_exact(form)
        is_single(read_answer(form).text)


def test_long_repetitions_are_read_in_no_time() -> None:
    for piece in ("answer ", "1, ", "a) ", "\\boxed{", "3 \n\n\n", "(", "####"):
        read_answer(piece * 20_000)


@pytest.mark.parametrize(
    ("answer", "several"),
    [
        ("3 or 4", True),
        ("3, 4", True),
        ("3; 4", True),
        ("3 \\quad \\text{and} \\quad 4", True),
        ("1,234", False),
        ("1{,}234", False),
        ("(3, 4)", False),
        ("\\left\\{3, 4\\right\\}", False),
        ("f(1, 2) = 3", False),
        ("7, 7", False),
        ("7, thanks", False),
        ("sand or gold", False),
        ("", False),
    ],
)
def test_alternatives_are_told_from_one_answer(answer: str, several: bool) -> None:
    assert offers_several(answer) is several


def math_verify_says(reference: str, answer: str) -> bool:
    from math_verify import parse, verify

    gold, found = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (reference, answer))
    return bool(verify(gold, found, timeout_seconds=None))
