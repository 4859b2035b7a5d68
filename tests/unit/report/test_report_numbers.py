"""Scales, smoothing and wording behind the report."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.report.axes import ends, frame, smooth, thin, ticks, ticks_within
from rlllm.report.markup import join
from rlllm.report.tables import estimate
from rlllm.report.wording import (
    DASH,
    MINUS,
    change,
    count,
    duration,
    fixed,
    labels,
    named,
    number,
    p_value,
    shortened,
)

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, DASH),
        (0, "0"),
        (0.5, "0.5"),
        (0.12345, "0.123"),
        (-0.12345, f"{MINUS}0.123"),
        (1234.5, "1,234"),
        (12.34, "12.3"),
        (3840, "3,840"),
        (2.5e7, "2.5e7"),
        (0.00001, f"1e{MINUS}5"),
        (math.nan, "NaN"),
        (-math.inf, f"{MINUS}∞"),
    ],
)
def test_numbers_are_short_and_plain(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, DASH), (0.42, "0.4 s"), (31.4, "31 s"), (59.97, "1 min 00 s"), (185, "3 min 05 s"), (8040, "2 h 14 min")],
)
def test_durations_use_the_unit_a_person_would(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_columns_of_numbers_line_up() -> None:
    assert [fixed(value) for value in (0.5, -0.25, 1)] == ["0.50", f"{MINUS}0.25", "1.00"]
    assert [fixed(value, signed=True) for value in (0.31, -0.001, None)] == ["+0.31", "0.00", DASH]
    assert labels([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert labels([0.0, 20.0, 40.0]) == ["0", "20", "40"]
    assert change(0.89, 0.584) == ("0.890", "0.584")
    assert change(0.0, 0.0) == ("0", "0")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("nano", "nano"),
        ({"name": "arithmetic", "level": 2, "rows": 2000}, "arithmetic, level 2, 2,000 rows"),
        (["exact", {"name": "format", "weight": 0.1}], "exact, format \N{MULTIPLICATION SIGN} 0.1"),
        ({"cuda": "H100"}, "cuda H100"),
    ],
)
def test_settings_read_like_words(value: object, shown: str) -> None:
    assert named(value) == shown


def test_small_words() -> None:
    assert (p_value(0.0004), p_value(0.0321)) == ("p < 0.001", "p = 0.032")
    assert (count(1, "step"), count(1200, "step")) == ("1 step", "1,200 steps")
    assert shortened("abcdef", 3) == "abc\n… and 3 more characters"


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9))
def test_ticks_are_few_rising_and_enclose_the_range(low: float, spread: float) -> None:
    high = low + spread
    marks = ticks(low, high)
    assert marks == sorted(marks)
    assert 2 <= len(marks) <= 8
    slack = 1e-6 * (marks[-1] - marks[0]) + 1e-9 * max(abs(low), abs(high))
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack


def test_step_axes_have_whole_marks_inside_the_data() -> None:
    assert ticks_within(1, 60) == [20, 40, 60]
    assert ticks_within(1, 2) == [1, 2]


@given(VALUES)
def test_smoothing_keeps_steps_and_stays_within_the_range(values: list[float]) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    line = smooth(points)
    assert [step for step, _ in line] == [step for step, _ in points]
    assert all(min(values) <= value <= max(values) for _, value in line)


def test_smoothing_leaves_a_straight_line_straight_up_to_its_ends() -> None:
    points = [(float(step), 2.0 * step) for step in range(50)]
    assert [value for _, value in smooth(points)] == pytest.approx([value for _, value in points])


@given(VALUES, st.integers(2, 20))
def test_thinning_keeps_the_ends_and_the_limit(values: list[float], limit: int) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    kept = thin(points, limit)
    assert len(kept) == min(len(points), limit)
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_one_spike_does_not_flatten_the_frame_but_real_growth_is_kept() -> None:
    calm = [1.0 + 0.1 * (step % 3) for step in range(100)]
    assert frame([*calm, 500.0])[1] < 2
    assert frame([float(step) for step in range(100)]) == (0.0, 99.0)


def test_ends_are_means_of_the_first_and_last_tenth() -> None:
    assert ends([(float(step), float(step)) for step in range(20)]) == (0.5, 18.5)


@pytest.mark.parametrize(
    ("low", "high", "shown"), [(1.0, 2.0, "1.00 to 2.00"), (1.0, None, "1.00 to ?"), (None, None, "interval unknown")]
)
def test_a_bound_that_is_known_is_shown_where_the_other_is_not(
    low: float | None, high: float | None, shown: str
) -> None:
    assert shown in str(join([estimate({"estimate": 1.5, "low": low, "high": high, "n": 3, "method": "bootstrap"})]))
