"""The majority vote: literal tables, and what no order of completions may change."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.records import Sample
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.majority import Majority

VOTES = [
    # answers of one prompt (None: no answer), values
    (["7", "7", "8"], [1, 1, 0]),
    (["7", "8", "8", None], [0, 1, 1, 0]),
    (["7", "8"], [1, 1]),
    (["7", "8", "9", "7", "8"], [1, 1, 0, 1, 1]),
    ([None, None], [0, 0]),
    (["7", None], [1, 0]),
    (["7", "7.0", "\\frac{14}{2}", "8", "8"], [1, 1, 1, 0, 0]),
    (["a  b", "a b", "b a"], [1, 1, 0]),
    (["50%", "0.5", "50"], [1, 1, 1]),
]


def text(answer: str | None) -> str:
    return "no idea" if answer is None else f"so\n#### {answer}"


def values(samples: list[Sample]) -> list[float | None]:
    return [score.value for score in Majority().score_batch(samples)]


@pytest.mark.parametrize(("answers", "expected"), VOTES)
def test_the_answer_most_completions_give_is_worth_one(answers: list[str | None], expected: list[float]) -> None:
    assert values([Sample("question", text(answer)) for answer in answers]) == expected


def test_each_prompt_votes_by_itself_wherever_its_completions_stand() -> None:
    chat = [{"role": "user", "content": "b"}]
    samples = [
        Sample("a", text("1")),
        Sample(chat, text("2")),
        Sample("a", text("1")),
        Sample(list(chat), text("2")),
        Sample("a", text("2")),
        Sample(chat, text("1")),
    ]
    assert values(samples) == [1, 1, 1, 1, 0, 0]


def test_a_completion_alone_has_no_majority() -> None:
    assert values([Sample("a", text("1")), Sample("b", text("1")), Sample("b", text("1"))]) == [None, 1, 1]


def test_the_vote_and_its_count_are_shown() -> None:
    score = Majority().score_batch([Sample("a", text(answer)) for answer in ("1", "1", "2", None)])
    assert (score[0].parsed, score[0].note) == ("1", "2 of 3 votes")
    assert (score[3].parsed, score[3].note) == (None, "no marked final answer")


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_order_changes_nothing_and_a_vote_is_a_count(answers: list[str | None], random: object) -> None:
    counts = Counter(answer for answer in answers if answer)
    most = max(counts.values(), default=0)
    samples = [Sample("a", text(answer)) for answer in answers]
    assert values(samples) == [float(answer is not None and counts[answer] == most) for answer in answers]
    assert values(samples[::-1]) == values(samples)[::-1]


def test_majority_needs_no_reference_and_composes() -> None:
    rewards = build([RewardSpec(name="exact", weight=0), RewardSpec(name="majority")])
    scores = rewards.score([Sample("a", text("1"), "2"), Sample("a", text("1"), "2")])
    assert scores.totals == [1.0, 1.0]
    assert scores.values[0] == [0.0, 0.0]
