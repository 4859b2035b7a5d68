"""Rewards that check a solution instead of comparing it: literal tables."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.records import Sample
from rlllm.rewards.verifiers.countdown import Countdown
from rlllm.rewards.verifiers.reasoning_gym_scorer import Gym

COUNTDOWN = [
    # completion, value
    ("#### 3 * 5 + 1", 1.0),
    ("#### 1 + 3 * 5 = 16", 1.0),
    ("\\boxed{(5 * 3) + 1}", 1.0),
    ("<answer>3*5+1</answer>", 1.0),
    ("#### 3 * 5 + 2", 0.0),
    ("#### 3 * 5", 0.0),
    ("#### 3 * 5 + 1 + 1 - 1", 0.0),
    ("#### 16", 0.0),
    ("#### 15 + 1", 0.0),
    ("#### 3 * 5 + 1 = 17", 0.0),
    ("3 * 5 + 1", 0.0),
    ("", 0.0),
    ("####", 0.0),
    ("#### ", 0.0),
    ("#### 3 ** 5 + 1", 0.0),
    ("#### __import__('os')", 0.0),
    ("#### 5 / (3 - 3)", 0.0),
    ("#### 3 * 5\n#### 3 * 5 + 1", 1.0),
    ("#### 3 * 5 + 1\n#### 16", 0.0),
]


@pytest.mark.parametrize(("completion", "value"), COUNTDOWN)
def test_countdown_checks_the_expression(completion: str, value: float) -> None:
    assert Countdown()(Sample("reach 16", completion, meta={"numbers": [1, 3, 5], "target": 16})).value == value


def test_countdown_says_what_is_wrong_with_the_expression() -> None:
    score = Countdown()(Sample("reach 16", "#### 3 * 5", meta={"numbers": [1, 3, 5], "target": 16}))
    assert (score.parsed, score.note) == ("3 * 5", "uses 3, 5")


def test_countdown_cannot_judge_rows_of_other_tasks() -> None:
    assert Countdown()(Sample("2 + 3", "#### 5", "5")).value is None
    assert Countdown()(Sample("2 + 3", "#### 5", "5", meta={"target": 5})).value is None


def gym_row(task: str, **params: Any) -> dict[str, Any]:
    import reasoning_gym

    entry = reasoning_gym.create_dataset(task, size=1, seed=3, **params)[0]
    return {"gym_task": task, "gym_params": params, "gym_entry": entry}


GYM = [
    # completion (the reference answer stands for {}), value
    ("#### {}", 1.0),
    ("{}", 1.0),
    (" {}\n", 1.0),
    ("I add them up.\n#### {}", 1.0),
    ("<answer>{}</answer>", 1.0),
    ("\\boxed{{{}}}", 1.0),
    ("#### {}\n#### 1000000", 0.0),
    ("#### 1000000", 0.0),
    ("1000000", 0.0),
    ("", 0.0),
    ("  \n ", 0.0),
    ("####", 0.0),
    ("#### seven", 0.0),
    ("\\boxed{{}}", 0.0),
    ("#### nan", 0.0),
]


@pytest.mark.parametrize(("completion", "value"), GYM)
def test_gym_asks_the_tasks_own_scorer(completion: str, value: float) -> None:
    meta = gym_row("chain_sum", min_terms=3, max_terms=3)
    score = Gym()(Sample("q", completion.format(meta["gym_entry"]["answer"]), meta=meta))
    assert score.value == value


def test_an_answer_on_which_a_gym_scorer_raises_is_worth_nothing_and_noted() -> None:
    meta = gym_row("prime_factorization")
    score = Gym()(Sample("q", "#### abc", meta=meta))
    assert score.value == 0.0
    assert score.note is not None
    assert score.note.startswith("unreadable answer: ValueError: invalid literal for int()")
    assert Gym()(Sample("q", f"#### {meta['gym_entry']['answer']}", meta=meta)).value == 1.0


def test_a_gym_scorer_that_cannot_read_its_own_row_raises() -> None:
    with pytest.raises(KeyError, match="answer"):
        Gym()(Sample("q", "#### abc", meta={**gym_row("prime_factorization"), "gym_entry": {}}))


def test_gym_cannot_judge_rows_of_other_tasks() -> None:
    assert Gym()(Sample("2 + 3", "#### 5", "5")).value is None
