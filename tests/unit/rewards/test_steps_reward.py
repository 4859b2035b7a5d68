"""The reward for worked steps: what it pays, and what it does not pay for."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.binding import bind
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

QUESTION = "Tom has 12 apples, buys 7 and eats 3. How many are left?"
RIGHT, WRONG = "\n#### 16", "\n#### 15"
GOOD, HALF, FARM = "12 + 7 = 19\n19 - 3 = 16", "12 + 7 = 20\n19 - 3 = 16", "12 + 1 = 13\n13 + 1 = 14\n14 + 2 = 16"


def value(completion: str, answer: str | None = "16", **params: Any) -> float | None:
    rewards = build([RewardSpec(name="steps", params=params)])
    return rewards.score([Sample(QUESTION, completion, answer)]).values[0][0]


@pytest.mark.parametrize(
    ("completion", "params", "worth"),
    [
        (GOOD + RIGHT, {}, 1.0),
        (HALF + RIGHT, {}, 0.5),
        ("12 + 7 = 19\n19 - 3 = 15" + RIGHT, {}, 0.5),
        ("12 + 7 = 19\n19 - 3 = 15" + RIGHT, {"aggregate": "all"}, 0.0),
        (GOOD + RIGHT, {"aggregate": "all"}, 1.0),
        (GOOD + WRONG, {}, 0.0),
        (FARM + WRONG, {}, 0.0),
        (GOOD + WRONG, {"reward": None}, 1.0),
        (GOOD, {}, 0.0),
        (GOOD, {"reward": "math"}, 1.0),
        (RIGHT, {}, None),
        (GOOD + RIGHT, {"fewest": 3}, None),
        ("16 = 16\n16 + 0 = 16" + RIGHT, {}, None),
    ],
)
def test_steps_are_paid_beside_a_right_answer(completion: str, params: dict[str, Any], worth: float | None) -> None:
    assert value(completion, **params) == worth


def test_a_false_first_step_takes_the_grounds_of_the_next() -> None:
    """19 is no number of the question, and the step that makes it was false: the second step proves nothing."""
    found = build([RewardSpec(name="steps")]).score([Sample(QUESTION, "12 + 7 = 20\n19 - 4 = 15" + RIGHT, "16")])
    score = found.details[0][0]
    assert score is not None
    assert (score.parsed, score.note) == ("0 of 1 steps hold", "first false: 12+7=20")


def test_without_a_reference_nothing_is_judged_unless_the_answer_does_not_matter() -> None:
    assert value(GOOD, None) is None
    assert value(GOOD, None, reward=None) == 1.0


def test_true_equations_never_earn_more_than_a_right_answer() -> None:
    farms = [FARM * times + ending for times in (1, 50) for ending in (RIGHT, WRONG, "")]
    assert max(value(text) or 0.0 for text in farms) <= 1.0
    assert [value(text) for text in farms if RIGHT not in text] == [0.0] * 4


@pytest.mark.parametrize(("params", "what"), [({"fewest": 0}, "at least 1"), ({"aggregate": "some"}, "aggregate")])
def test_settings_out_of_range_are_refused(params: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        value(GOOD, **params)


def test_it_shapes_and_does_not_verify() -> None:
    assert bind(RewardSpec(name="steps"), "steps").verifies is False
