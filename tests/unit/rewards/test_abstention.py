"""The abstention reward: what is right, wrong and abstained, what each is worth, and which settings contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.abstention import Payoff, abstains, abstention, outcome_of
from rlllm.rewards.binding import bind
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec


def scores(samples: list[Sample], **params: Any) -> list[float | None]:
    return build([RewardSpec(name="abstention", params=params)]).score(samples).values[0]


def sample(completion: str, answer: str | None = "7", **fields: Any) -> Sample:
    return Sample("3 + 4 = ?", completion, answer, **fields)


TRIO = [sample("#### 7"), sample("#### I do not know"), sample("#### 8")]


@pytest.mark.parametrize(
    ("params", "values"),
    [
        ({}, [1.0, 0.0, -1.0]),
        ({"penalty": 0.25}, [1.0, 0.0, -0.25]),
        ({"threshold": 0.75}, [1.0, 0.0, -3.0]),
        ({"threshold": 0.5}, [1.0, 0.0, -1.0]),
        ({"penalty": 0, "abstain": 0.3}, [1.0, 0.3, 0.0]),
        ({"threshold": 0.6, "abstain": 0.2}, [1.0, 0.2, -1.0]),
        ({"reward": "math"}, [1.0, 0.0, -1.0]),
        ({"reward": {"name": "numeric", "absolute": 1}}, [1.0, 0.0, 1.0]),
    ],
)
def test_right_abstained_and_wrong_are_worth_what_is_stated(params: dict[str, Any], values: list[float]) -> None:
    assert scores(TRIO, **params) == pytest.approx(values)


@given(st.floats(0.01, 0.99), st.floats(-0.4, 0.9))
def test_answering_and_abstaining_are_worth_the_same_at_the_threshold(threshold: float, abstain: float) -> None:
    if threshold <= abstain:
        return
    payoff = Payoff.of(None, threshold, abstain, "here")
    mean = threshold * payoff.score("right", 1.0) + (1 - threshold) * payoff.score("wrong", 0.0)
    assert mean == pytest.approx(abstain, abs=1e-9)
    assert payoff.threshold == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"penalty": 1, "threshold": 0.5}, "say the same thing"),
        ({"threshold": 1.0}, "between 0 and 1"),
        ({"penalty": 0}, "more than a wrong one"),
        ({"penalty": -1}, "0 or more"),
        ({"abstain": 1}, "less than a right answer"),
        ({"threshold": 0.2, "abstain": 0.4}, "above what abstaining is worth"),
        ({"reward": "no-such"}, "no-such"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(params: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        scores(TRIO, **params)


@pytest.mark.parametrize(
    "words",
    [
        *("I don't know", "I do not know.", "I honestly don't know the answer", "idk", "unknown", "I\u2019m not sure", "pass"),
        *("I cannot determine the answer", "I can't tell", "I am unable to answer this question", "I have no idea"),
        *("It cannot be determined from this", "There is not enough information", "the answer is unknown", "I abstain"),
        *("I do not know what 12 + 7 is", "It is impossible to say", "I would rather not answer", "No idea!"),
    ],
)  # fmt: skip
def test_abstaining_is_told_in_many_wordings(words: str) -> None:
    assert abstains(words)
    assert outcome_of(sample(f"Let me see.\n#### {words}"), 0.0) == "abstained"
    assert outcome_of(sample(f"3 + 4. {words}"), 0.0) == "abstained"


@pytest.mark.parametrize(
    "words",
    [
        *(
            "7",
            "",
            "?",
            "none",
            "I know that it is 7",
            "I don't know, 7",
            "I don't know but 7",
            "maybe 7",
            "he passes by",
        ),
        *("I am not sure, but I think Paris", "unknown soldier = Smith", "I don't know; probably Paris", "know"),
        *('the "I do not know" of the song', "an unknown number", "I guess Paris"),
    ],
)
def test_a_hedge_beside_an_answer_is_an_answer(words: str) -> None:
    assert abstains(words) is None


def test_abstaining_does_not_depend_on_whether_the_answer_is_right() -> None:
    for text in (
        "I do not know. #### 7",
        "\\boxed{7} I do not know.",
        "#### 7\nNo.\n#### I do not know",
        "7. I can't say.",
    ):
        assert abstention(sample(text, "7")) == abstention(sample(text, "8"))
    assert scores([sample("I do not know.\n#### 7"), sample("I do not know.\n#### 8")]) == [1.0, -1.0]


def test_nothing_and_what_was_cut_are_wrong() -> None:
    cut = [sample("I do not know", truncated=True), sample("<think>I do not know", truncated=True)]
    assert scores([sample(""), sample("<think>I do not know.</think>"), *cut]) == [-1.0] * 4


def test_a_question_without_an_answer_is_answered_by_abstaining() -> None:
    texts = ("I do not know.", "#### unknown", "#### 7")
    assert scores([sample(text, "unknown") for text in texts]) == [1.0, 1.0, -1.0]


def test_none_stays_none_and_credit_in_part_is_worth_its_part() -> None:
    assert scores([sample("#### 7", None), sample("I do not know.", None)]) == [None, None]
    assert Payoff(3.0).score("wrong", 0.75) == pytest.approx(0.0)
    assert Payoff(3.0).score("wrong", -2.0) == -3.0


def test_a_reward_of_batches_is_scored_in_batches_and_its_note_says_the_outcome() -> None:
    bound = bind(RewardSpec(name="abstention", params={"reward": "math"}), "abstention")
    assert bound.score_batch is not None
    assert bound.verifies is True
    found = bound.score_batch(TRIO)
    assert [score.note for score in found if isinstance(score, Score)] == ["right", "abstained", "wrong"]


def test_a_failure_of_the_inner_reward_is_no_score(tmp_path: Any) -> None:
    (tmp_path / "odd.py").write_text("def odd(sample):\n    return 'text' if '8' in sample.completion else 1.0\n")
    composition = build(
        [RewardSpec(name="abstention", params={"reward": {"name": f"{tmp_path}/odd.py:odd", "deadline": 0}})],
        max_error_rate=1.0,
    )
    found = composition.score(TRIO)
    assert found.values[0][0] == 1.0
    assert [issue.index for issue in found.errors] == [2]
