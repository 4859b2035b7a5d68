"""Numbers and units: each spelling with the exact value it states, and the texts that state none."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.parsing.numbers import comparable_values, read_number
from rlllm.parsing.units import read_unit

VALUES = [
    # text, value
    ("7", "7"),
    ("7.", "7"),
    ("**7**", "7"),
    ("$7$", "7"),
    (r"\(7\)", "7"),
    (r"\[ 7. \]", "7"),
    (r"\boxed{7}", "7"),
    (r"\textcolor{red}{7}", "7"),
    (r"{\bf 7}", "7"),
    ("\uff17", "7"),
    ("\u0667", "7"),
    ("\U0001d7d5", "7"),
    ("\u22127", "-7"),
    ("\u20137", "-7"),
    ("+7", "7"),
    ("- 7", "-7"),
    (".5", "1/2"),
    ("1,234,567", "1234567"),
    ("12,34,567", "1234567"),
    ("1 234 567", "1234567"),
    ("1\u202f234\u00a0567", "1234567"),
    (r"1\,234\,567", "1234567"),
    (r"1\;234", "1234"),
    ("1~234", "1234"),
    ("1{,}234", "1234"),
    (r"12\!,345", "12345"),
    (r"12,\!345", "12345"),
    ("1'234", "1234"),
    ("1.234.567", "1234567"),
    ("1.234,5", "2469/2"),
    ("3{,}5", "7/2"),
    ("12345678901234567891", "12345678901234567891"),
    ("3/4", "3/4"),
    (r"\frac{3}{4}", "3/4"),
    (r"\dfrac34", "3/4"),
    (r"\frac{3}4", "3/4"),
    (r"\frac3{4}", "3/4"),
    (r"-\frac{3}{4}", "-3/4"),
    (r"\frac{-3}{4}", "-3/4"),
    (r"\frac{-3}{-4}", "3/4"),
    (r"\frac{1.5}{2}", "3/4"),
    ("\u00bd", "1/2"),
    ("2\u00bd", "5/2"),
    (r"2\frac{1}{2}", "5/2"),
    (r"2 \tfrac12", "5/2"),
    (r"-2\frac{1}{2}", "-5/2"),
    ("2 1/2", "5/2"),
    ("2-1/2", "5/2"),
    ("2 and 1/2", "5/2"),
    ("1e3", "1000"),
    ("1.5E+3", "1500"),
    ("1.2e-4", "3/25000"),
    (r"1.5\times10^3", "1500"),
    (r"1.5 \times 10^{-3}", "3/2000"),
    (r"1.5\cdot 10^{3}", "1500"),
    ("1.5 x 10^3", "1500"),
    ("1.5*10^3", "1500"),
    ("1.5\u00d710\u00b3", "1500"),
    ("10^{-8}", "1/100000000"),
    (r"0.\overline{3}", "1/3"),
    (r"0.1\overline{6}", "1/6"),
    (r"0.\dot{3}", "1/3"),
    (r"0.\bar{3}", "1/3"),
    ("0.(3)", "1/3"),
    (r"1.\overline{142857}", "8/7"),
    ("$7", "7"),
    (r"\$7.50", "15/2"),
    ("-$7", "-7"),
    ("\u20ac18", "18"),
    ("18\u20ac", "18"),
    ("USD 18", "18"),
    ("US$18", "18"),
    ("7 dollars", "7"),
    ("7 apples", "7"),
    ("7apples", "7"),
    ("7kg", "7"),
    ("7 red apples left.", "7"),
    (r"7\text{ cm}", "7"),
    (r"7\,\mathrm{m/s^2}", "7"),
    (r"7 \, \text{m/s}^2", "7"),
    (r"7 \frac{\text{m}}{\text{s}}", "7"),
    ("7 meters per second", "7"),
    ("7 square units", "7"),
    (r"7\text{ units}^2", "7"),
    ("7 km/h", "7"),
    ("7 m", "7"),
    (r"7^\circ", "7"),
    (r"7^{\circ}", "7"),
    ("7\u00b0", "7"),
    ("7 degrees Celsius", "7"),
    ("7 (years)", "7"),
    ("7 times", "7"),
    ("5 million", "5000000"),
    ("5 million dollars", "5000000"),
    ("$5 million", "5000000"),
    ("5 dozen", "60"),
    ("3 thousand", "3000"),
    ("2.5 billion", "2500000000"),
    ("5k", "5000"),
    ("seven", "7"),
    ("Twenty-one apples", "21"),
    ("two hundred and five", "205"),
    ("three million two hundred thousand", "3200000"),
    (r"\text{seven}", "7"),
    ("x = 7", "7"),
    ("x_1 = 7", "7"),
    (r"\text{Area} = 7", "7"),
    ("3 + 4 = 7", "7"),
    (r"3 \times 4 = 12", "12"),
    ("2x = 10", None),
    ("3x - y + 13 = 0", None),
    ("x + 1 = 6", None),
    ("Answer: 7", "7"),
    ("the final answer is 7", "7"),
    ("approximately 7", "7"),
    ("~7", "7"),
    (r"\approx 7", "7"),
    (r"x \approx 7", None),
    ("50%", "50"),
    (r"12.5\%", "25/2"),
    (r"\frac{25}{2}\%", "25/2"),
    ("28 percent", "28"),
    ("28 per cent", "28"),
    # no number, or more than one
    ("", None),
    ("3 or 4", None),
    ("3, 4", None),
    ("3 and 4", None),
    ("3 or more", None),
    ("3 or less", None),
    ("at least 3", None),
    ("more than 3", None),
    ("less than 3", None),
    ("3 at most", None),
    ("up to 3", None),
    ("not 3", None),
    ("3+", None),
    (r"\geq 3", None),
    ("x >= 3", None),
    ("x != 3", None),
    (r"x \ne 3", None),
    (r"\pm 3", None),
    ("3 \u00b1 1", None),
    ("3-4", None),
    ("3\u20134", None),
    ("3 to 4", None),
    ("2nd", None),
    ("12th", None),
    ("3rd place", None),
    ("5x", None),
    ("5 x", None),
    ("2x + 3", None),
    ("2 + 3", None),
    ("2**3", None),
    ("5!", None),
    ("5 factorial", None),
    ("1,23", None),
    ("12 34", None),
    ("1 2", None),
    ("3:4", None),
    ("204_5", None),
    ("3 quarters", None),
    ("three quarters", None),
    ("three four", None),
    ("half", None),
    ("1/0", None),
    (r"\frac{1}{0}", None),
    ("1/2/3", None),
    ("1e99999", None),
    ("nan", None),
    ("red", None),
    ("(3", None),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_number_is_read_exactly_or_not_at_all(text: str, value: str | None) -> None:
    number = read_number(text)
    assert (number and number.value) == (None if value is None else Fraction(value))


EQUAL = [
    # answer, reference, equal
    ("5 m", "500 cm", True),
    ("5 m", "5", True),
    ("5", "5 m", True),
    ("5 m", "5 meters", True),
    ("5 feet", "5 meters", False),
    ("5 m", "5 ft", False),
    ("5 feet", "60 inches", True),
    ("5 m^2", "5 square meters", True),
    ("5 m^2", "5 m", False),
    (r"5\text{ cm}^2", r"5 \text{ sq cm}", True),
    ("5 m/s", "18 km/h", True),
    ("5 m/s", "5 meters per second", True),
    ("5 m/s", "5 km/h", False),
    ("3 hours", "180 minutes", True),
    ("3 hours", "3 days", False),
    ("$5", "500 cents", True),
    ("$5", "5 euros", False),
    ("$5", "5 dollars", True),
    ("5 dollars", "5 cents", False),
    ("5 apples", "5 apples", True),
    ("5 red apples", "5 apple", True),
    ("5 apples", "5 oranges", False),
    ("5 units", "5 cm", True),
    ("50%", "50", True),
    ("50", "50%", True),
    ("0.5", "50%", True),
    ("50%", "1/2", True),
    ("-20", r"-20\%", True),
    ("-50%", "50%", False),
    ("0.5%", "0.5", False),
    ("1%", "1", False),
    ("0%", "0", True),
    ("1234567890124", "1234567890123", False),
    ("0.1", "1/10", True),
    ("0.333333", "1/3", False),
    ("5 kg", "5000 g", True),
    ("2 years", "24 months", True),
    (r"9.8\,\mathrm{m/s^2}", "9.8 m/s^2", True),
    ("9.8 m/s/s", "9.8 m/s^2", True),
    ("5 N", "5 kg m/s^2", True),
    ("90 degrees", r"90^\circ", True),
    ("90 degrees", "90 radians", False),
    ("20\u00b0C", "20 degrees Celsius", True),
    ("20\u00b0C", "20\u00b0F", False),
]


@pytest.mark.parametrize(("answer", "reference", "equal"), EQUAL)
def test_values_are_compared_with_their_units(answer: str, reference: str, equal: bool) -> None:
    numbers = read_number(answer), read_number(reference)
    assert numbers[0]
    assert numbers[1]
    assert any(a == b for a, b in comparable_values(*numbers)) is equal


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="0123456789.,/%$ \\{}^-e\u00bdm()k", max_size=20))
def test_any_text_is_a_number_or_none(text: str) -> None:
    read_number(text)
    read_unit(text)


@given(st.integers(-(10**20), 10**20), st.sampled_from(["{}", "{:,}", "${}$", "**{}**", "{}.", "{}.0", r"\text{{{}}}"]))
def test_an_integer_is_read_back_in_every_frame(value: int, frame: str) -> None:
    number = read_number(frame.format(value))
    assert number
    assert number.value == value


def test_reading_a_number_takes_no_time_on_long_text() -> None:
    for piece in ("1 ", "1,", "a ", "\\text{", "(", "one ", "$", "10^"):
        read_number(piece * 90)
        read_unit(piece * 20_000)
