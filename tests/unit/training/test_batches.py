"""Batch arithmetic: what TRL would do with the numbers, and hints whose numbers work."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, ExitCode
from rlllm.training.batch_arithmetic import BatchPlan, plan_batches

SHORT = {
    "b": "per_device_train_batch_size",
    "ga": "gradient_accumulation_steps",
    "spg": "steps_per_generation",
    "gbs": "generation_batch_size",
    "it": "num_iterations",
    "save": "save_steps",
    "how": "save_strategy",
}


def settings(**short: Any) -> dict[str, Any]:
    return {SHORT[key]: value for key, value in short.items()}


# settings, group size, processes -> completions a rollout, completions a step, prompts a rollout, steps a rollout
PLANS: list[tuple[dict[str, Any], int, int, tuple[int, int, int, int]]] = [
    ({}, 8, 1, (8, 8, 1, 1)),
    ({"b": 64}, 8, 1, (64, 64, 8, 1)),
    ({"b": 8, "ga": 4}, 8, 1, (32, 32, 4, 1)),
    ({"b": 2, "ga": 4}, 8, 1, (8, 8, 1, 1)),
    ({"b": 8, "ga": 2}, 8, 4, (64, 64, 8, 1)),
    ({"b": 8, "spg": 4, "save": 4}, 8, 1, (32, 8, 4, 4)),
    ({"b": 8, "ga": 2, "spg": 4, "save": 2}, 8, 1, (32, 16, 4, 2)),
    ({"b": 8, "ga": 4, "spg": 2}, 8, 1, (16, 32, 2, 1)),
    ({"b": 8, "gbs": 32, "save": 4}, 8, 1, (32, 8, 4, 4)),
    ({"b": 8, "gbs": 64, "save": 500}, 8, 2, (64, 16, 8, 4)),
    ({"b": 8, "it": 2}, 8, 1, (8, 8, 1, 2)),
    ({"b": 8, "it": 3, "save": 501}, 8, 1, (8, 8, 1, 3)),
    ({"b": 8, "it": 3, "how": "no"}, 8, 1, (8, 8, 1, 3)),
    ({"b": 8, "it": 3, "how": "epoch"}, 8, 1, (8, 8, 1, 3)),
    ({"b": 4, "spg": 2, "save": 2}, 8, 1, (8, 4, 1, 2)),
    ({"b": 6, "ga": 2}, 4, 1, (12, 12, 3, 1)),
    ({"b": 8, "spg": None, "gbs": None}, 8, 1, (8, 8, 1, 1)),
]


@pytest.mark.parametrize(("short", "group", "processes", "expected"), PLANS)
def test_the_numbers_of_a_plan(
    short: dict[str, Any], group: int, processes: int, expected: tuple[int, int, int, int]
) -> None:
    plan = plan_batches(settings(**short), group, processes)
    assert (
        plan.completions_per_rollout,
        plan.completions_per_step,
        plan.prompts_per_rollout,
        plan.steps_per_rollout,
    ) == expected


REFUSED: list[tuple[dict[str, Any], int, int, str, str]] = [
    ({"b": 6}, 4, 1, "a rollout of 6 completions cannot be cut into groups of 4", "size=4 or 8, or group_size=2 or 3"),
    ({"b": 8}, 16, 1, "a rollout of 8 completions", "per_device_train_batch_size=16, or group_size=4 or 8"),
    ({"b": 1}, 2, 1, "a rollout of 1 completions", "per_device_train_batch_size=2"),
    ({"b": 5, "ga": 3}, 8, 1, "a rollout of 15 completions", "per_device_train_batch_size=8, or group_size=3 or 5"),
    ({"b": 4}, 8, 2, "a rollout of 4 completions", "per_device_train_batch_size=8, or group_size=2 or 4"),
    ({"b": 8, "spg": 2, "gbs": 16}, 8, 1, "say the same thing twice", "set one of them"),
    ({"b": 8, "gbs": 12}, 8, 1, "generation_batch_size must be a multiple", "=8 or generation_batch_size=16"),
    ({"b": 8, "gbs": 3}, 8, 1, "generation_batch_size must be a multiple", "generation_batch_size=8"),
    ({"b": 4, "gbs": 12}, 8, 1, "generation_batch_size must be a multiple", "=8 or generation_batch_size=16"),
    ({"b": 8, "gbs": 24}, 8, 2, "generation_batch_size must be a multiple", "=16 or generation_batch_size=32"),
    ({"b": 8, "gbs": 0}, 8, 1, "generation_batch_size must be a multiple", "generation_batch_size=8"),
    ({"b": 8, "it": 2, "save": 3}, 8, 1, "checkpoints would fall inside a rollout", "save_steps=2 or save_steps=4"),
    ({"b": 8, "it": 3}, 8, 1, "checkpoints would fall inside a rollout", "save_steps=498 or save_steps=501"),
    ({"b": 8, "spg": 4, "save": 1}, 8, 1, "checkpoints would fall", "save_steps=4 or save_steps=8"),
    ({"b": 8, "spg": 4, "save": 0.5}, 8, 1, "checkpoints would fall", "save_steps=4 or save_steps=8"),
    ({"b": 8, "ga": 2, "spg": 3, "save": 3}, 8, 1, "do not end together", "steps=1 or gradient_accumulation_steps=3"),
    ({"b": 8, "ga": 4, "gbs": 24, "it": 2}, 8, 1, "do not end together", "steps=2 or gradient_accumulation_steps=3"),
    ({"b": 0}, 8, 1, "per_device_train_batch_size is at least 1", ""),
    ({"b": -8}, 8, 1, "per_device_train_batch_size is at least 1", ""),
    ({"ga": 0}, 8, 1, "gradient_accumulation_steps is at least 1", ""),
    ({"it": 0}, 8, 1, "num_iterations is at least 1", ""),
    ({"spg": 0}, 8, 1, "steps_per_generation is at least 1", ""),
]


@pytest.mark.parametrize(("short", "group", "processes", "what", "hint"), REFUSED)
def test_numbers_that_do_not_divide_are_refused_with_some_that_do(
    short: dict[str, Any], group: int, processes: int, what: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        plan_batches(settings(**short), group, processes)
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_batch_smaller_than_a_group_is_fine_when_accumulation_fills_it() -> None:
    assert plan_batches(settings(b=4, ga=2), 8).prompts_per_rollout == 1


def test_a_plan_says_its_numbers() -> None:
    text = "4 prompts x 8 = 32 completions a rollout, 16 a step, 2 updates a rollout"
    assert plan_batches(settings(b=8, ga=2, spg=4, save=2), 8).describe() == text


def suggestions(hint: str) -> list[dict[str, int]]:
    """Every change a hint proposes: `a=1 or 2, or b=3` proposes a=1, a=2 and b=3."""
    changes = []
    for name, numbers in re.findall(r"(\w+)=((?:\d+)(?: or \d+)*)", hint):
        changes += [{name: int(number)} for number in numbers.split(" or ")]
    return changes


NUMBERS = st.integers(1, 33)


@given(
    b=NUMBERS,
    ga=st.integers(1, 6),
    it=st.integers(1, 3),
    save=st.integers(1, 700) | st.floats(0.01, 0.99),
    asked=st.none() | st.tuples(st.sampled_from(["spg", "gbs"]), st.integers(1, 70)),
    group=st.integers(2, 17),
    processes=st.integers(1, 3),
)
@example(b=4, ga=1, it=1, save=500, asked=("gbs", 12), group=8, processes=1)
def test_what_a_hint_suggests_works(
    b: int,
    ga: int,
    it: int,
    save: float,
    asked: tuple[str, int] | None,
    group: int,
    processes: int,
) -> None:
    given_settings = settings(b=b, ga=ga, it=it, save=save, **({asked[0]: asked[1]} if asked else {}))
    outcome = attempt(given_settings, group, processes)
    if isinstance(outcome, BatchPlan):
        assert_consistent(outcome, given_settings, group, processes)
        return
    proposed = suggestions(outcome.hint or "")
    assert proposed
    for change in proposed:
        wanted = change.get("group_size", group)
        retried = attempt(
            {**given_settings, **{k: v for k, v in change.items() if k != "group_size"}}, wanted, processes
        )
        assert isinstance(retried, BatchPlan) or problem(retried) > problem(outcome)


def problem(error: ConfigError) -> int:
    """Which of the checks, in their order, an error comes from: a hint mends its own and may meet the next."""
    words = ["multiple of the batch", "cannot be cut", "do not end together", "inside a rollout"]
    return next(number for number, word in enumerate(words) if word in error.what)


def attempt(given_settings: dict[str, Any], group: int, processes: int) -> BatchPlan | ConfigError:
    try:
        return plan_batches(given_settings, group, processes)
    except ConfigError as error:
        return error


def assert_consistent(plan: BatchPlan, given_settings: dict[str, Any], group: int, processes: int) -> None:
    """A plan's numbers are those of TRL: whole groups, and checkpoints where no rollout is half used."""
    micro = given_settings["per_device_train_batch_size"] * processes
    accumulation, iterations = given_settings["gradient_accumulation_steps"], given_settings["num_iterations"]
    assert plan.completions_per_rollout % (group * processes) == 0
    assert plan.completions_per_step == micro * accumulation
    uses = plan.completions_per_rollout // micro * iterations
    assert (plan.steps_per_rollout * accumulation) % uses == 0
    assert uses % accumulation == 0 or accumulation % uses == 0
    assert plan.steps_per_rollout == max(uses // accumulation, 1)
    assert plan.steps_per_rollout == 1 or given_settings["save_steps"] % plan.steps_per_rollout == 0
