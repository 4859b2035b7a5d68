"""The reward for a predicted next state: F1 over the lines that changed, and what earns nothing."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Conversation, PromptTask, Sample
from rlllm.data.procedural.physics.families import FAMILIES
from rlllm.data.procedural.physics.transitions import transitions
from rlllm.data.request import DataRequest
from rlllm.parsing.states import compare_change, read_state, state_text
from rlllm.rewards.verifiers.state_change import StateChange

BEFORE = "t=2 s\nv=3 m/s\nx=6 m"
AFTER = "t=4 s\nv=3 m/s\nx=12 m"


def value(completion: str, before: Any = BEFORE, after: str | None = AFTER, **arguments: Any) -> float | None:
    return StateChange(**arguments)(Sample("?", completion, after, {"state": before})).value


@pytest.mark.parametrize(
    ("completion", "worth"),
    [
        (AFTER, 1.0),
        ("x = 12 m\nt = 4 s\nv = 3 m/s", 1.0),
        (f"<think>t=9 s</think>\n```\n{AFTER}\n```", 1.0),
        (f"<answer>{AFTER}</answer>", 1.0),
        ("t=4.0 s\nv=3 m/s\nx=12.5 m", 1.0),
        ("t=4 s\nv=3 m/s\nx=12.7 m", 0.5),
        ("t=4 s\nv=3 m/s\nx=6 m", 2 / 3),
        ("t=4 s\nv=3 m/s\nx=7 m", 1 / 2),
        ("t=4 s\nv=5 m/s\nx=12 m", 4 / 5),
        ("t=4 s\nx=12 m", 4 / 5),
        ("t=4 s\nv=3 m/s\nx=12 m\ny=1 m", 4 / 5),
        ("t=4 m\nv=3 m/s\nx=12", 0.0),
        ("t=4 s\nt=5 s\nv=3 m/s\nx=12 m", 1 / 2),
        (BEFORE, 0.0),
        ("t=2.0 s\nv=3.0 m/s\nx=6.0 m", 0.0),
        ("t=2.1 s\nv=3.1 m/s\nx=6.1 m", 0.0),
        ("", 0.0),
        ("nothing changes", 0.0),
        ("set t to 4 s", 0.0),
    ],
)
def test_only_changed_lines_count(completion: str, worth: float) -> None:
    assert value(completion) == pytest.approx(worth)


def test_the_old_state_is_right_where_nothing_changed() -> None:
    assert value(BEFORE, after=BEFORE) == 1.0
    assert value("t=2 s\nv=3 m/s\nx=7 m", after=BEFORE) == 0.0
    assert value("", after=BEFORE) == 0.0


def test_a_small_change_is_not_predicted_by_the_old_number_and_a_little_noise() -> None:
    """100 to 102 is within 5 % of each other: only what is nearer to the new number counts."""
    assert value("x=100.1", "x=100", "x=102") == 0.0
    assert value("x=101.5", "x=100", "x=102") == 1.0


def test_lines_that_come_and_go_are_changes() -> None:
    assert value("a=1\nc=3", "a=1\nb=2", "a=1\nc=3") == 1.0
    assert value("a=1\nb=2\nc=3", "a=1\nb=2", "a=1\nc=3") == pytest.approx(2 / 3)
    assert value("door=open", {"door": "shut"}, "door=open") == 1.0


def test_words_are_compared_as_they_are_and_zero_has_no_share() -> None:
    assert value("lamp=off", "lamp=on", "lamp=Off") == 0.0
    assert value("u=0 m/s", "u=4 m/s", "u=0.0 m/s") == 1.0
    assert value("u=0.1 m/s", "u=4 m/s", "u=0 m/s") == 0.0


def test_a_threshold_makes_it_all_or_nothing() -> None:
    almost = "t=4 s\nv=5 m/s\nx=12 m"
    assert [value(almost, threshold=bar) for bar in (0.5, 0.8, 0.9)] == [1.0, 1.0, 0.0]
    assert value("t=4 s\nv=3 m/s\nx=12.7 m", tolerance=0.1) == 1.0


@pytest.mark.parametrize("row", [{"before": None}, {"before": "no state"}, {"after": None}, {"after": "42"}])
def test_a_row_without_states_is_not_judged(row: dict[str, Any]) -> None:
    assert value(AFTER, **row) is None


@pytest.mark.parametrize("arguments", [{"tolerance": 1.0}, {"tolerance": -0.1}, {"threshold": 0.0}, {"threshold": 2}])
def test_settings_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="state-change"):
        StateChange(**arguments)


def test_states_are_written_sorted_and_read_back() -> None:
    state = {"x": "6 m", "t": "2 s", "v_1": "-3 m/s"}
    assert state_text(state) == "t=2 s\nv_1=-3 m/s\nx=6 m"
    assert read_state(state_text(state)) == state
    assert compare_change(state, state, state, 0.05).f1 == 1.0


def rows(level: int, **params: Any) -> list[PromptTask]:
    request = DataRequest(rows=200, level=level, seed=3, params=params)
    return transitions(request)  # type: ignore[return-value]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_every_transition_is_worth_1_to_its_answer_and_0_to_a_copy(level: int) -> None:
    reward = StateChange()
    for row in rows(level):
        idle = row.answer == row.meta["state"]
        assert reward(Sample(row.prompt, row.answer or "", row.answer, row.meta)).value == 1.0
        assert reward(Sample(row.prompt, row.meta["state"], row.answer, row.meta)).value == float(idle)
        assert reward(Sample(row.prompt, str(row.prompt), row.answer, row.meta)).value in (0.0, float(idle))


def test_an_action_changes_what_depends_on_it_and_nothing_else() -> None:
    for row in rows(1, families="projectile", idle=0):
        before, after = read_state(row.meta["state"]), read_state(row.answer or "")
        changed = {key for key in before if before[key] != after[key]}
        assert changed == {row.meta["action"].split()[1], "x"}
        v, t, x = (float((after[key] or "").split()[0]) for key in "vtx")
        assert x == v * t


def test_shares_of_actions_hold_and_unknown_families_are_refused() -> None:
    assert all(row.answer == row.meta["state"] for row in rows(1, idle=1))
    assert all(row.meta["action"].startswith("wait") for row in rows(2, families="projectile+drag", waits=1))
    with pytest.raises(ConfigError, match="family of scenes"):
        rows(1, families="magnets")


def test_no_state_is_in_both_splits_and_conversations_end_in_the_state_after() -> None:
    train, holdout = (transitions(DataRequest(split=name, rows=400, level=1)) for name in ("train", "holdout"))
    assert not {str(row.meta["state"]) for row in train} & {str(row.meta["state"]) for row in holdout}
    for record in transitions(DataRequest(kind=Conversation, rows=20, level=2)):
        assert isinstance(record, Conversation)
        assert record.completion == record.meta["answer"]
    assert {row.meta["family"] for row in rows(1)} == set(FAMILIES)
