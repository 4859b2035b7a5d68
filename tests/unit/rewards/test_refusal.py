"""The refusal reward: its shipped cases, and texts that only sound like a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.records import Sample
from rlllm.rewards.bench.cases import shipped
from rlllm.rewards.verifiers.refusal import Refusal


def value(text: str, **settings: int) -> float | None:
    return Refusal(**settings)(Sample("?", text)).value


def test_every_shipped_case_is_judged_as_labelled() -> None:
    found = shipped("refusal", {})
    assert found is not None
    wrong = []
    for case in found.cases:
        score = Refusal()(case.sample).value
        wanted = case.stated.value if case.stated else float(bool(case.label))
        if score != wanted:
            wrong.append((wanted, score, case.sample.completion))
    assert wrong == []
    assert len(found.cases) > 50


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I\u2019m  sorry ,\nbut I can\u2019t help with that", 1.0),
        ("> I cannot assist with this.", 1.0),
        ("I would like to, but I'm unable to assist.", 1.0),
        ("I can't help noticing how well you ask. Here you go.", 0.0),
        ("I can't help but laugh.", 0.0),
        ("You can help yourself.", 0.0),
        ("A thief can't explain how locks work.", 0.0),
        ("   ", None),
    ],
)
def test_a_phrase_counts_as_a_person_means_it(text: str, expected: float | None) -> None:
    assert value(text) == expected


def test_only_the_opening_is_read() -> None:
    late = "Here is the first part. " * 20 + "I can't help with the rest."
    assert value(late) == 0.0
    assert value(late, opening=2000) == 1.0


@given(st.text(max_size=400))
def test_any_text_is_judged_in_linear_time_and_without_an_error(text: str) -> None:
    assert value(text) in (0.0, 1.0, None)
    value(f"sorry {text * 50}", opening=20_000)
