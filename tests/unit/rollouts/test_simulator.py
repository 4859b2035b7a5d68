"""The simulator: a hidden number is found by measuring, calls cost, nothing is told for free, and guesses earn little."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Conversation, PromptTask
from rlllm.data.procedural.physics.experiments import hidable, observables, simulator
from rlllm.data.procedural.physics.families import FAMILIES, setup_of
from rlllm.data.request import DataRequest, Split
from rlllm.rollouts.environments.simulator import Simulator

THROWN = {"family": "projectile", "level": 1, "given": {"v": 3.0, "t": 4.0}, "hidden": "v"}
FLIES = {"family": "projectile", "level": 2, "given": {"v": 20.0, "theta": 0.5, "g": 9.8}, "hidden": "v"}


def begun(row: dict[str, Any], **arguments: Any) -> Simulator:
    environment = Simulator(**arguments)
    environment.reset(prompt="?", answer=None, **row)
    return environment


def tasks(level: int, split: Split = "train", rows: int = 200, **params: Any) -> list[PromptTask]:
    request = DataRequest(kind=PromptTask, split=split, rows=rows, seed=0, level=level, params=params)
    return simulator(request)  # type: ignore[return-value]


def test_what_is_measured_leads_to_the_number_and_costs() -> None:
    environment = begun(THROWN)
    assert environment.measure("x") == "x=12 m"
    assert environment.simulate("v", 2) == "x=8 m"
    assert environment.simulate("t", 5) == "x=10 m"
    assert environment.get_reward() == 0
    assert environment.submit("3 m/s") == "submitted"
    assert environment.get_reward() == pytest.approx(1.08 - 0.03)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        *(("3 m/s", True), ("v = 3 m/s", True), ("3.1 m/s.", True), ("10.8 km/h", True), ("300 cm/s", True)),
        *(("3", False), ("m/s", False), ("3.2 m/s", False), ("3 m", False), ("12 m", False), ("-3 m/s", False)),
        *(("2, 3 or 4 m/s", False), ("nan", False), ("1e999 m/s", False), ("", False), ("x=12 m", False)),
    ],
)
def test_an_answer_needs_its_unit_and_five_percent(answer: str, right: bool) -> None:
    environment = begun(THROWN)
    environment.submit(answer)
    assert environment.get_reward() == pytest.approx(1.08 if right else 0.0)


def test_a_right_answer_passes_after_every_call_and_a_wrong_one_is_never_below_0() -> None:
    for answer, worth in (("3 m/s", 1.0), ("4 m/s", 0.0)):
        environment = begun(THROWN, price=0.6, calls=2)
        environment.measure("x")
        environment.measure("x")
        environment.submit(answer)
        assert environment.get_reward() == worth
    with pytest.raises(ValueError, match="submitted already"):
        environment.submit("4 m/s")


def test_calls_are_capped_and_a_new_row_begins_anew() -> None:
    environment = begun(THROWN, calls=2)
    environment.measure("x")
    environment.simulate("v", 1)
    for call in (lambda: environment.measure("x"), lambda: environment.simulate("v", 2)):
        with pytest.raises(ValueError, match="all 2 calls are made"):
            call()
    environment.submit("3 m/s")
    assert environment.get_reward() == 1.0
    environment.reset(**{**THROWN, "given": {"v": 5.0, "t": 4.0}})
    assert environment.measure("x") == "x=20 m"
    assert environment.get_reward() == 0


def test_nothing_is_told_of_the_hidden_number_for_free() -> None:
    environment = begun(FLIES)
    for call, what in (
        (lambda: environment.measure("v"), "v cannot be measured; there are "),
        (lambda: environment.measure("theta"), "cannot be measured"),
        (lambda: environment.simulate("theta", 30), "set v first"),
        (lambda: environment.simulate("x", 3), "x cannot be set"),
        (lambda: environment.simulate("v", "fast"), "could not convert"),  # type: ignore[arg-type]
        (lambda: environment.measure("x", float("nan")), "no finite number"),
    ):
        with pytest.raises(ValueError, match=what):
            call()
    assert environment.made == 0
    with pytest.raises(ValueError, match="nothing moves at that time"):
        environment.measure("x", 1000)
    assert environment.made == 1


def test_what_moves_is_measured_at_a_time() -> None:
    environment = begun(FLIES)
    assert environment.measure("y", 0) == "y=0 m"
    assert environment.measure("x", 1) == "x=17.55 m"
    assert environment.measure("y", t=1) == "y=4.689 m"


@pytest.mark.parametrize("arguments", [{"price": -0.1}, {"price": 2}, {"calls": 0}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the environment simulator"):
        Simulator(**arguments)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_every_scene_of_the_data_is_solved_by_its_answer_after_measuring_all(level: int) -> None:
    for task in tasks(level, rows=60):
        environment = begun(dict(task.meta))
        hidden = task.meta["hidden"]
        for name in setup_of(task.meta["family"], level).symbols_asked:
            assert environment.measure(name).split("=")[0] == name != hidden
        environment.submit(task.answer or "")
        assert environment.get_reward() == pytest.approx(1 + 0.01 * (8 - environment.made))


def test_the_time_is_not_hidden_where_something_moves() -> None:
    for family in FAMILIES.values():
        for setup in family.values():
            assert setup.motion is None or "t" not in hidable(setup)
            assert set(setup.symbols_asked) <= set(observables(setup))


def paid(answer: Any, level: int) -> float:
    """What a policy that does not work anything out earns on average; `answer` is from a task and its measured text."""
    rewards = []
    for task in tasks(level):
        environment = begun(dict(task.meta))
        read = environment.measure(setup_of(task.meta["family"], level).symbols_asked[0])
        environment.submit(answer(task, read))
        rewards.append(environment.get_reward())
    return sum(rewards) / len(rewards)


def unit_of(task: PromptTask) -> str:
    return (task.answer or "").partition(" ")[2]


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize(
    "answer",
    [
        lambda task, read: f"5 {unit_of(task)}",
        lambda task, read: "3 m/s",
        lambda task, read: unit_of(task),
        lambda task, read: str(task.prompt),
        lambda task, read: read,
        lambda task, read: read.partition("=")[2],
        lambda task, read: f"{read.partition('=')[2].split()[0]} {unit_of(task)}",
        lambda task, read: "",
        lambda task, read: f"{random.Random(str(task.prompt)).randint(1, 9)} {unit_of(task)}",
    ],
    ids=["constant", "constant with unit", "unit", "prompt", "reading", "its value", "its number", "nothing", "digit"],
)
def test_guesses_and_echoes_earn_less_than_a_quarter(answer: Any, level: int) -> None:
    assert paid(answer, level) < 0.25


def test_no_prompt_is_in_both_splits() -> None:
    prompts = [{str(task.prompt) for task in tasks(1, split, 2000)} for split in ("train", "holdout")]
    assert not prompts[0] & prompts[1]
    assert len(tasks(1, "holdout", 2000)) > 200


def test_families_without_anything_to_hide_are_refused() -> None:
    with pytest.raises(ConfigError, match="hides a number at level 2"):
        tasks(2, families="drag")


@pytest.mark.parametrize("measures", [1.0, 0.4])
def test_experiments_show_what_the_environment_says(measures: float) -> None:
    request = DataRequest(kind=Conversation, rows=400, seed=0, level=1, params={"measures": measures})
    ended = []
    for turn in simulator(request):
        assert isinstance(turn, Conversation)
        environment = begun(dict(turn.meta))
        messages = turn.prompt if isinstance(turn.prompt, list) else []
        for call, result in zip(messages[1::2], messages[2::2], strict=True):
            name, _, argument = str(call["content"]).strip("<>").partition(" ")
            said = getattr(environment, name)(argument.partition("=")[2])
            assert said == result["content"]
        if turn.completion == "done":
            ended.append(environment.get_reward())
    assert all(value >= 0.99 for value in ended) == (measures == 1)
