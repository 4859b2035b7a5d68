"""Function calls: every notation, what matches, and calls that would do harm if anyone ran them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.records import Sample
from rlllm.rewards.verifiers.function_calls import Calls

WEATHER = [{"weather": {"city": ["San Francisco", "SF"], "days": [3], "unit": ["celsius", ""]}}]
RIGHT = {"name": "weather", "arguments": {"city": "SF", "days": 3}}


def value(completion: str, expected: Any = WEATHER, **settings: Any) -> float | None:
    return Calls(**settings)(Sample("q", completion, None, {"ground_truth": expected})).value


NOTATIONS = [
    # completion, value
    (f"<tool_call>{json.dumps(RIGHT)}</tool_call>", 1.0),
    (f"I look it up.\n<tool_call>\n{json.dumps(RIGHT)}\n</tool_call>\n", 1.0),
    (json.dumps(RIGHT), 1.0),
    (json.dumps([RIGHT]), 1.0),
    (f"```json\n{json.dumps(RIGHT)}\n```", 1.0),
    (json.dumps({"name": "weather", "parameters": {"city": "SF", "days": 3}}), 1.0),
    (
        json.dumps(
            {"tool_calls": [{"type": "function", "function": {**RIGHT, "arguments": '{"city":"SF","days":3}'}}]}
        ),
        1.0,
    ),
    ("weather(city='SF', days=3)", 1.0),
    ("[weather(city='San Francisco', days=3, unit='celsius')]", 1.0),
    ("```python\nweather(city='SF', days=3)\n```", 1.0),
    ("<think>weather(city='LA')</think>weather(city='SF', days=3)", 1.0),
    ("weather(city='san-francisco', days=3.0)", 1.0),
    ("weather(city='SF', days=3, unit='')", 1.0),
    ("weather(city='SF')", 0.0),
    ("weather(city='SF', days=4)", 0.0),
    ("weather(city='SF', days='3')", 0.0),
    ("weather(city='SF', days=True)", 0.0),
    ("weather(city='SF', days=3, unit='kelvin')", 0.0),
    ("weather(city='SF', days=3, extra=1)", 0.0),
    ("forecast(city='SF', days=3)", 0.0),
    ("x.weather(city='SF', days=3)", 0.0),
    ("weather('SF', 3)", 0.0),
    ("weather(**{'city': 'SF', 'days': 3})", 0.0),
    ("weather(city='SF', days=3)\nweather(city='SF', days=3)", 0.0),
    ("weather(city='SF', days=3) or weather(city='LA', days=3)", 0.0),
    ("result = weather(city='SF', days=3)", 0.0),
    (f"<tool_call>{json.dumps(RIGHT)}", 0.0),
    (f"<tool_call>{json.dumps(RIGHT)}</tool_call><tool_call>{{</tool_call>", 0.0),
    ('{"name": "weather", "arguments": {"city": "LA", "city": "SF", "days": 3}}', 0.0),
    ('{"name": "weather", "arguments": []}', 0.0),
    ('{"name": 3}', 0.0),
    ("null", 0.0),
    ("The weather is nice.", 0.0),
    ("", 0.0),
]


@pytest.mark.parametrize(("completion", "wanted"), NOTATIONS)
def test_a_call_is_read_and_matched(completion: str, wanted: float) -> None:
    assert value(completion) == wanted


def test_nothing_in_an_argument_is_ever_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    harm = f"__import__('pathlib').Path({str(target)!r}).touch()"
    for attack in (harm, f"weather(city={harm}, days=3)", f"[{harm}]", f"weather(city=f'{{{harm}}}', days=3)"):
        assert value(attack) == 0.0
    assert not target.exists()


NESTED = [{"f": {"box": [{"w": [1, 2], "h": [3, ""]}], "tags": [["a", "b"]], "none": [None], "on": [True]}}]


@pytest.mark.parametrize(
    ("completion", "wanted"),
    [
        ("f(box={'w': 2}, tags=['A', 'b'], none=None, on=True)", 1.0),
        ("f(box={'w': 2, 'h': 3}, tags=('a', 'b'), none=None, on=True)", 1.0),
        ("f(box={'w': 2, 'h': 4}, tags=['a', 'b'], none=None, on=True)", 0.0),
        ("f(box={'h': 3}, tags=['a', 'b'], none=None, on=True)", 0.0),
        ("f(box={'w': 2}, tags=['b', 'a'], none=None, on=True)", 0.0),
        ("f(box={'w': 2}, tags=['a', 'b'], none='', on=True)", 0.0),
        ("f(box={'w': 2}, tags=['a', 'b'], none=None, on=1)", 0.0),
    ],
)
def test_lists_and_objects_are_matched_inside(completion: str, wanted: float) -> None:
    assert value(completion, NESTED) == wanted


PARALLEL = [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}, {"g": {}}]


@pytest.mark.parametrize(
    ("completion", "wanted"),
    [
        ("f(x=1)\nf(x=2)\ng()", 1.0),
        ("[g(), f(x=2), f(x=1)]", 1.0),
        ("[f(x=1), f(x=1), g()]", 1.0),
        ("[f(x=2), f(x=2), g()]", 0.0),
        ("[f(x=1), f(x=2)]", 0.0),
        ("[f(x=1), f(x=2), g(), g()]", 0.0),
    ],
)
def test_parallel_calls_are_matched_as_a_multiset(completion: str, wanted: float) -> None:
    assert value(completion, PARALLEL) == wanted


def test_strings_can_be_compared_as_they_are() -> None:
    assert value("weather(city='sf', days=3)", exact=True) == 0.0
    assert value("weather(city='SF', days=3)", exact=True) == 1.0


def test_where_no_call_is_expected_words_are_wanted() -> None:
    assert value("There is no function for that.", []) == 1.0
    assert value("", []) == 0.0
    assert value("weather(city='SF')", []) == 0.0
    assert value("<tool_call>{</tool_call>", []) == 0.0


def test_the_answer_may_hold_the_expectation_as_json() -> None:
    assert Calls()(Sample("q", "g()", '[{"g": {}}]')).value == 1.0


@pytest.mark.parametrize("expected", [None, "{", 3, [3], [{"f": 1}], [{"f": {}, "g": {}}], ["x"]])
def test_an_unreadable_expectation_cannot_judge(expected: Any) -> None:
    assert value("f()", expected) is None


ATTACKS = [
    "[" * 40_000,
    "f(" * 20_000,
    "f(x=" + "-" * 40_000 + "1)",
    "a." * 20_000 + "f()",
    "f(x=" + "9" * 40_000 + ")",
]


@pytest.mark.parametrize(
    "completion",
    [
        *ATTACKS,
        "<tool_call>" * 20_000,
        "f()\n" * 1_000,
        "f()\n" * 100_000,
        "f(x={[]: 1})",
        "f(x={{}})",
        "f(x='\\ud800')",
        "\x00",
    ],
)
def test_odd_and_huge_texts_are_wrong(completion: str) -> None:
    assert value(completion) == 0.0


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["weather", "(", ")", "city=", "'SF'", ",", "{", "}", '"name":', "1"])).map("".join)
)
def test_any_text_is_right_or_wrong(completion: str) -> None:
    assert value(completion) in (0.0, 1.0)
