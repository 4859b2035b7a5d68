"""Credit of a message by counterfactual replay: frozen transcripts, alternatives, and what follows them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rlllm.algorithms.advantages.group import leave_one_out
from rlllm.core.records import PromptTask, Sample
from rlllm.rollouts.dialogue.play import Protocol, State, play
from rlllm.rollouts.dialogue.replay import Audit, outcomes

RIGHT, WRONG = "#### 4", "#### 5"
TASK = PromptTask("2+2?", "4")
TWO_MESSAGES = Protocol(turns=3, controllers=False, reviewer=False)
"""Two proposals, of which the second one is the answer."""
Speak = Callable[[Sequence[PromptTask]], list[Sample]]


def judge(answers: Sequence[Sample]) -> list[bool]:
    return [answer.completion == RIGHT for answer in answers]


def saying(text: Callable[[PromptTask], str]) -> Speak:
    return lambda tasks: [Sample(task.prompt, text(task), tokens=1) for task in tasks]


def scripted(*texts: str) -> Speak:
    left = iter(texts)
    return saying(lambda _: next(left))


def played(protocol: Protocol, *texts: str) -> State:
    always: dict[str, Any] = {"probability": lambda key: 1.0, "draw": lambda count: [0.0] * count}
    (state,) = play([TASK], protocol, scripted(*texts), judge=judge, **always)
    return state


def audited(
    protocol: Protocol, state: State, number: int, texts: Sequence[str], speak: Speak, *, replays: int = 1
) -> list[float]:
    """Outcomes behind alternatives of the message at a turn, where everybody speaks."""
    turn = next(turn for turn in state.turns if turn.number == number)
    (values,) = outcomes(
        [Audit(TASK, state, turn, texts)],
        protocol,
        speak,
        probability=lambda key: 1.0,
        draw=lambda count: [0.0] * count,
        judge=judge,
        replays=replays,
    )
    return values


def credits(values: Sequence[float]) -> list[float]:
    return leave_one_out(torch.tensor([values], dtype=torch.float64))[0].tolist()


def test_only_the_message_that_matters_has_credit() -> None:
    """The second proposal is right half of the time, whatever the first one said."""
    coin, replays = random.Random(0), 2000
    by_chance = saying(lambda _: RIGHT if coin.random() < 0.5 else WRONG)
    state = played(TWO_MESSAGES, WRONG, RIGHT)
    alternatives = [RIGHT, WRONG, WRONG, RIGHT]
    first = credits(audited(TWO_MESSAGES, state, 1, alternatives, by_chance, replays=replays))
    noise = 0.5 / replays**0.5 * (1 + 1 / 3) ** 0.5  # deviation of a mean minus the mean of three others
    assert np.abs(first).max() < 3 * noise
    second = credits(audited(TWO_MESSAGES, state, 3, alternatives, scripted()))
    assert second == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])


def test_a_message_that_is_repeated_has_the_credit_of_the_answer() -> None:
    repeating = saying(lambda task: RIGHT if RIGHT in str(task.prompt) else WRONG)
    state = played(TWO_MESSAGES, WRONG, WRONG)
    assert credits(audited(TWO_MESSAGES, state, 1, [RIGHT, WRONG], repeating)) == [1.0, -1.0]


def test_a_review_has_the_credit_of_what_it_brings_about() -> None:
    """The proposer repairs its solution where the review says so."""
    protocol = Protocol(turns=3, controllers=False)
    listening = saying(lambda task: RIGHT if "WRONG, look" in str(task.prompt) else WRONG)
    state = played(protocol, WRONG, "RIGHT", WRONG)
    values = audited(protocol, state, 2, ["WRONG, look", "RIGHT", "hm"], listening)
    assert values == [1.0, 0.0, 0.0]
    assert credits(values) == pytest.approx([1.0, -0.5, -0.5])


def test_the_transcript_before_a_message_is_frozen_and_what_stood_in_its_place_is_gone() -> None:
    protocol, shown = Protocol(turns=5, controllers=False), []

    def say(task: PromptTask) -> str:
        shown.append(str(task.prompt))
        return "RIGHT" if "RIGHT or WRONG" in str(task.prompt) else RIGHT

    state = played(protocol, "#### 1", "WRONG before", "#### 2", "WRONG behind", "#### 3")
    before = list(state.turns)
    audited(protocol, state, 3, ["#### 77"], saying(say))
    assert state.turns == before
    assert len(shown) == 2
    for prompt in shown:
        assert "WRONG before" in prompt
        assert "[solution]\n#### 77" in prompt
        assert "#### 2" not in prompt
        assert "WRONG behind" not in prompt


def test_who_speaks_behind_the_alternatives_of_a_message_is_decided_by_the_same_numbers() -> None:
    """A last proposal that is always wrong is spoken half of the time: alternatives that are all right stay equal."""
    generator, protocol = random.Random(1), Protocol(turns=3, reviewer=False)
    state = played(protocol, RIGHT, RIGHT)
    rows = outcomes(
        [Audit(TASK, state, state.turns[0], [RIGHT] * 3)] * 8,
        protocol,
        saying(lambda _: WRONG),
        probability=lambda key: 0.5,
        draw=lambda count: [generator.random() for _ in range(count)],
        judge=judge,
        replays=4,
    )
    assert all(len(set(row)) == 1 for row in rows)
    assert len({row[0] for row in rows}) > 1
    assert any(0 < row[0] < 1 for row in rows)  # the replays of an alternative are decided by numbers of their own
