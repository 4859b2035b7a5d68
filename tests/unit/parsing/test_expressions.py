"""Exact arithmetic on text that a model wrote."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.parsing.expressions import ExpressionError, countdown_fault, evaluate

VALUES = [
    ("3 + 5 * 2", Fraction(13), [3, 5, 2]),
    ("(3+5)*2", Fraction(16), [3, 5, 2]),
    ("8/(3-8/3)", Fraction(24), [8, 3, 8, 3]),
    ("-3+8", Fraction(5), [3, 8]),
    ("3 × 4 ÷ 2 − 1", Fraction(5), [3, 4, 2, 1]),  # noqa: RUF001
    ("[1+2]*3", Fraction(9), [1, 2, 3]),
]


@pytest.mark.parametrize(("text", "value", "numbers"), VALUES)
def test_an_expression_has_an_exact_value_and_its_numbers_in_order(text, value, numbers):
    assert evaluate(text) == (value, numbers)


REFUSED = ["", "=", "3+", "3**5", "3.5+1", "a+1", "f(3)", "__import__('os')", "True+1", "1,2", "03", "3/0", "1/(2-2)"]
DEEP = ["(" * 150 + "1" + ")" * 150, "-" * 199 + "1", "1+" * 99 + "(", "9" * 201]


@pytest.mark.parametrize("text", REFUSED + DEEP[:1] + DEEP[2:])
def test_anything_else_is_refused(text):
    with pytest.raises(ExpressionError):
        evaluate(text)


@given(st.text(alphabet="0123456789+-*/()=. \nabc'\"_[]{}:,#\\\0", max_size=220))
def test_no_text_raises_anything_but_an_expression_error(text):
    assert countdown_fault(text, [1, 2], 3) is None or isinstance(countdown_fault(text, [1, 2], 3), str)


FAULTS = [
    ("3+5+8", None),
    ("8 + 5 + 3 = 16", None),
    ("3+5+8=17", "says it makes 17"),
    ("3*5", "uses 3, 5"),
    ("3+5+8+0", "uses 0, 3, 5, 8"),
    ("3+3+5+5", "uses 3, 3, 5, 5"),
    ("3*5+8", "makes 23"),
    ("8/5+3", "makes 23/5"),
    ("16", "uses 16"),
    ("nothing", "not an arithmetic expression"),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_a_countdown_solution_uses_each_number_once_and_makes_the_target(text, fault):
    assert countdown_fault(text, [3, 5, 8], 16) == fault


@given(st.lists(st.integers(0, 99), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_random_expression_agrees_with_pythons_own_arithmetic(numbers, generator):
    text = str(numbers[0])
    for number in numbers[1:]:
        text = f"({text}){generator.choice('+-*')}{number}"
    assert evaluate(text) == (Fraction(eval(text)), numbers)
