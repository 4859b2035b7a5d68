"""Judges measured on literal replies, so that every number can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair
from rlllm.evals.before_after import difference
from rlllm.evals.metrics.judge import Judgement, judge_measures, judge_pairs
from rlllm.evals.statistics.agreement import cohens_kappa
from rlllm.parsing.judge_prompts import both_orders
from rlllm.rollouts.config import SamplingConfig

REPLIES = {
    "right": ("Good.\nVerdict: A", "Good.\nVerdict: B"),
    "wrong": ("Verdict: B", "Verdict: A"),
    "always A": ("Verdict: A", "Verdict: A"),
    "always B": ("Verdict: B", "Verdict: B"),
    "half": ("Verdict: A", "hm"),
    "mute": ("", "Verdict: maybe"),
}
MEASURES: list[tuple[str, dict[str, list[float]]]] = [
    (
        "swap-consistent accuracy",
        {"right": [1], "wrong": [0], "always A": [0], "always B": [0], "half": [0], "mute": [0]},
    ),
    (
        "verdict accuracy",
        {"right": [1, 1], "wrong": [0, 0], "always A": [1, 0], "always B": [0, 1], "half": [1, 0], "mute": [0, 0]},
    ),
    ("consistency", {"right": [1], "wrong": [1], "always A": [0], "always B": [0], "half": [0], "mute": [0]}),
    (
        "share of A",
        {
            "right": [1, 0],
            "wrong": [0, 1],
            "always A": [1, 1],
            "always B": [0, 0],
            "half": [1, 0.5],
            "mute": [0.5, 0.5],
        },
    ),
    (
        "readable verdicts",
        {"right": [1, 1], "wrong": [1, 1], "always A": [1, 1], "always B": [1, 1], "half": [1, 0], "mute": [0, 0]},
    ),
]
PAIR = PreferencePair("1 + 1?", "two", "three", meta={"level": 1})


@pytest.mark.parametrize(("name", "expected"), MEASURES)
def test_every_measure_of_a_pair_follows_from_its_two_verdicts(name: str, expected: dict[str, list[float]]) -> None:
    judged = [Judgement(replies) for replies in REPLIES.values()]
    measure = next(one for one in judge_measures(judged, [PAIR] * len(judged)) if one.name == name)
    assert dict(zip(REPLIES, measure.scores, strict=True)) == expected


def test_a_pair_that_was_not_judged_has_no_score_and_is_counted() -> None:
    measures = judge_measures([Judgement(REPLIES["right"]), None], [PAIR, PAIR])
    assert [one.scores[1] for one in measures] == [[]] * 5
    row = difference(measures[0], measures[0])[0]
    assert (row["unjudged"], row["after"]["n"], row["after"]["estimate"]) == (1, 1, 1.0)


def test_both_replies_are_kept_to_be_read() -> None:
    first = judge_measures([Judgement(("one", "two"))], [PAIR])[0]
    assert first.completions == [["one\n--- the other order ---\ntwo"]]
    assert (first.prompts, first.answers) == (["1 + 1?"], ["two"])


def test_a_pair_is_asked_in_both_orders_with_the_side_that_is_right() -> None:
    first, second = both_orders(PAIR, "Be strict.")
    assert (first.answer, second.answer) == ("A", "B")
    assert "[A]\ntwo\n[B]\nthree\n" in str(first.prompt)
    assert "[A]\nthree\n[B]\ntwo\n" in str(second.prompt)
    assert all("Be strict." in str(task.prompt) for task in (first, second))


@pytest.fixture(scope="module")
def judge(nano: str) -> tuple[object, object]:
    from rlllm.policies.loading import load_policy, load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    source = resolve_model(nano)
    return load_policy(source), load_tokenizer(source)


def test_a_model_is_judged_greedily_and_long_pairs_are_left_out(judge: tuple[object, object]) -> None:
    pairs = [PAIR, PreferencePair("q", "x" * 600, "y")]
    sampling = SamplingConfig(max_new_tokens=8)
    judged = judge_pairs(*judge, pairs, sampling, rubric="", seed=0)
    assert judged[0] is not None
    assert judged[1] is None
    assert judge_pairs(*judge, [PAIR], sampling, rubric="", seed=1) == judged[:1]


def test_no_pair_that_fits_is_an_error_with_the_room_there_is(judge: tuple[object, object]) -> None:
    with pytest.raises(DataError, match="none of 1 pairs fits the judge's context: a question may have 12 tokens"):
        judge_pairs(*judge, [PAIR], SamplingConfig(max_new_tokens=500), rubric="", seed=0)


KAPPA: list[tuple[str, str, float | None]] = [
    ("AABB", "AABB", 1.0),
    ("AABB", "BBAA", -1.0),
    ("AABB", "ABAB", 0.0),
    ("AAAA", "AAAA", None),
    ("AAAA", "AABB", 0.0),
    ("", "", None),
    # the textbook table 20 5 / 10 15: observed 0.7, expected 0.5
    ("Y" * 20 + "Y" * 5 + "N" * 10 + "N" * 15, "Y" * 20 + "N" * 5 + "Y" * 10 + "N" * 15, 0.4),
]


@pytest.mark.parametrize(("first", "second", "kappa"), KAPPA)
def test_kappa_of_literal_tables(first: str, second: str, kappa: float | None) -> None:
    assert cohens_kappa(first, second) == (None if kappa is None else pytest.approx(kappa))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_kappa_follows_from_the_table_of_counts(pairs: list[tuple[int, int]]) -> None:
    table = np.zeros((4, 4))
    for first, second in pairs:
        table[first, second] += 1
    table /= table.sum()
    expected = float(table.sum(0) @ table.sum(1))
    kappa = cohens_kappa(*zip(*pairs, strict=True))
    if math.isclose(expected, 1):
        assert kappa is None
    else:
        assert kappa == pytest.approx((np.trace(table) - expected) / (1 - expected))
