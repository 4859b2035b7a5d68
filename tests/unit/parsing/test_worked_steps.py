"""Worked steps: which equations of a text count, and which of them hold."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.parsing.steps import share_that_hold, worked_steps

HOLDS = [
    # question, text, the steps that count, each with whether it holds
    ("12 and 7", "12 + 7 = 19", [("12+7=19", True)]),
    ("12 and 7", "(12 + 7 = 19) and so 19 - 7 = 11.", [("12+7=19", True), ("19-7=11", False)]),
    ("17 + 28", "Ones: 7 + 8 = 15. Tens: 1 + 2 + 1 = 4.", [("7+8=15", True), ("1+2+1=4", True)]),
    ("48", "48/2 = <<48/2=24>>24 clips, 48+24 = <<48+24=72>>72", [("48/2=24", True), ("48+24=72", True)]),
    ("10", "10 / 3 = 3.33; 10 / 4 = 2.6; 10 / 3 = 3", [("10/3=3.33", True), ("10/4=2.6", False), ("10/3=3", False)]),
    ("10", "10 / 3 ≈ 3", [("10/3≈3", True)]),
    ("10", "10 + 0.04 = 10.0", [("10+0.04=10.0", False)]),
    ("10", "$10 \\times 2 = 20$, \\frac{10}{4} = 2.5", [("10*2=20", True), ("(10/4)=2.5", True)]),
    ("10", "10 x 3 = 30", [("10*3=30", True)]),
    ("10", "**10 + 2 = 12**", [("10+2=12", True)]),
    ("10", "10 · 2 \u2212 1 = 20 \u2212 1 = 19", [("10*2-1=20-1", True), ("20-1=19", True)]),
    ("10", "1. 10 + 5 = 15. 2. 15 + 1 = 16!", [("10+5=15", True), ("15+1=16", True)]),
    ("10", "$1,000 + $10 = $1,010", [("1000+10=1010", True)]),
    ("10", "-10 + 3 = -7", [("-10+3=-7", True)]),
    ("10", "a = 10 + 1 = 11", [("10+1=11", True)]),
]  # fmt: skip


@pytest.mark.parametrize(("question", "text", "steps"), HOLDS)
def test_equations_are_read_as_people_and_models_write_them(
    question: str, text: str, steps: list[tuple[str, bool]]
) -> None:
    assert [(step.text, step.holds) for step in worked_steps(text, question)] == steps


@pytest.mark.parametrize(
    "text",
    [
        *(
            "x + 10 = 7",
            "10x + 3 = 7",
            "x - 10 + 3 = 4",
            "10^2 + 1 = 144",
            "10! + 3 = 4",
            "f_10 + 1 = 7",
            "3% + 10 = 9",
        ),
        *("10 + 5 = 15km", "10 + 5 = 15x", "10 * 20% = 3", "10 + 5 = 16 + x", "10 + 5 = 4^2", "10 / 0 = 3", "10 + 5 ="),
    ],
)
def test_what_cannot_be_checked_is_left_out(text: str) -> None:
    assert worked_steps(text, "10") == []


@pytest.mark.parametrize(
    "text",
    [
        *("10 = 10", "10 + 0 = 10", "0 + 10 = 10", "1 * 10 = 10", "10 / 1 = 10", "10 - 0 = 10", "10 + 5 = 5 + 10"),
        *("10 + 5 = 10 + 5", "20 + 20 = 40", "(10) * (1) = 10"),
    ],
)
def test_what_proves_nothing_does_not_count(text: str) -> None:
    assert worked_steps(text, "What is 10 more than 10?") == []


def test_a_step_counts_once_and_a_false_one_counts_wherever_its_numbers_come_from() -> None:
    assert len(worked_steps("10 + 5 = 15\n10 + 5 = 15\n5 + 10 = 15\n15 = 10 + 5", "10")) == 1
    assert [step.holds for step in worked_steps("20 + 20 = 41", "10")] == [False]


def test_a_true_step_may_begin_with_an_earlier_result_but_not_with_a_false_one() -> None:
    assert [step.holds for step in worked_steps("10 + 5 = 15\n15 + 4 = 19", "10")] == [True, True]
    assert [step.holds for step in worked_steps("10 + 5 = 16\n16 + 4 = 20", "10")] == [False]
    assert [step.holds for step in worked_steps("8 / 2 = 4", "Half of eight?")] == [True]


@given(st.integers(2, 999), st.integers(2, 999), st.integers(-3, 3), st.sampled_from("+-*"))
def test_a_sum_holds_exactly_where_it_is_right(first: int, second: int, slip: int, sign: str) -> None:
    result = {"+": first + second, "-": first - second, "*": first * second}[sign] + slip
    steps = worked_steps(f"So {first} {sign} {second} = {result}.", f"{first} {second}")
    assert [step.holds for step in steps] == [slip == 0]


def test_the_share_is_of_what_counts_and_none_of_nothing() -> None:
    assert share_that_hold(worked_steps("12 + 7 = 19, 19 + 1 = 20, 20 + 1 = 22", "12")) == pytest.approx(2 / 3)
    assert share_that_hold([]) is None


@pytest.mark.parametrize(
    "text",
    [
        *("1" * 100_000, "1+" * 50_000, "1=" * 50_000, "(" * 100_000, "=" * 100_000, " " * 100_000, "1,234" * 20_000),
        *("1+1=" * 25_000, "(1" * 50_000 + "=", "\\frac{" * 20_000, "3 x " * 30_000, "$" * 100_000, "*" * 100_000),
    ],
    ids=lambda text: text[:6].strip() or "blanks",
)
def test_a_flood_of_signs_takes_no_seconds(text: str) -> None:
    started = time.process_time()
    worked_steps(text, "1")
    assert time.process_time() - started < 5
