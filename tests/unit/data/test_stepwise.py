"""Worked solutions with step labels: every label is checked against arithmetic done afresh, and files name their bad rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import DataError
from rlllm.core.records import StepwiseSolution
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.procedural.problems import Problem, Solution
from rlllm.data.procedural.stepwise import first_wrong


def solutions(**settings: Any) -> list[StepwiseSolution]:
    return load(DataConfig(**{"name": "arithmetic", "rows": 400, "holdout": 0, **settings}), StepwiseSolution).train


def column_lines(first: int, symbol: str, second: int) -> list[str]:
    """The only right working of a sum or difference, column by column, made from the digits as text."""
    width = max(len(str(first)), len(str(second)))
    sign, carry, lines = (1 if symbol == "+" else -1), 0, []
    pairs = zip(str(first).zfill(width)[::-1], str(second).zfill(width)[::-1], strict=True)
    for top, bottom in pairs:
        left = int(top)
        value = left + sign * (int(bottom) + carry)
        if value < 0:
            left, value = left + 10, value + 10
        lines.append(symbol.join([str(left), bottom, *(["1"] if carry else [])]) + f"={value}")
        carry = int(value > 9) if sign > 0 else int(left > 9)
    return [*lines, f"#### {first + sign * second}"]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_step_is_labelled_right_as_long_as_the_working_is_the_right_one(level: int) -> None:
    for record in solutions(level=level):
        first, symbol, second = re.search(r"(\d+) ([+-]) (\d+)", str(record.prompt)).groups()  # type: ignore[union-attr]
        right = column_lines(int(first), symbol, int(second))
        so_far = [list(record.steps[: end + 1]) == right[: end + 1] for end in range(len(record.steps))]
        assert list(record.labels) == so_far, record


@pytest.mark.parametrize("name", ["arithmetic", "countdown", "lists", "world"])
def test_labels_are_true_up_to_the_first_wrong_step_and_false_from_it_on(name: str) -> None:
    records = solutions(name=name)
    assert all(sorted(record.labels, reverse=True) == list(record.labels) for record in records)
    assert all(record.steps[-1].startswith("#### ") for record in records)
    share = sum(all(record.labels) for record in records) / len(records)
    assert 0.42 < share < 0.58


def test_the_first_error_stands_at_every_step_often_enough_to_be_learned() -> None:
    places = Counter(record.labels.index(False) for record in solutions(level=2) if not all(record.labels))
    assert set(places) == {0, 1, 2}
    assert min(places.values()) > 0.15 * sum(places.values())


@pytest.mark.parametrize(("share", "right"), [(0.0, True), (1.0, False)])
def test_the_share_of_wrong_solutions_can_be_set(share: float, right: bool) -> None:
    records = solutions(rows=50, params={"wrong_share": share})
    assert {all(record.labels) for record in records} == {right}


def test_held_out_problems_are_never_trained_on_and_the_same_request_gives_the_same_rows() -> None:
    loaded = load(DataConfig(name="arithmetic", rows=200, holdout=64), StepwiseSolution)
    assert len(loaded.holdout) == 64
    assert not {str(r.prompt) for r in loaded.train} & {str(r.prompt) for r in loaded.holdout}
    assert loaded.train == solutions(rows=200)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("3+4=7", "7*2=14", "#### (3+4)*2"), 3),
        (("4+3=7", "7*2=14", "#### (4+3)*2"), 3),
        (("4*3=12", "12+2=14", "#### 4*3+2"), 3),  # another way, as right
        (("3-4=-1", "-1*2=-2", "#### (3-4)*2"), 0),
        (("3*4=12", "12*2=24", "#### 3*4*2"), 1),  # 12 + 2 would still have been 14
    ],
)
def test_in_countdown_a_step_is_wrong_once_the_target_is_out_of_reach(lines: tuple[str, ...], expected: int) -> None:
    extra = {"numbers": [2, 3, 4], "target": 14}
    problem = Problem("countdown", 2, "key", "Make 14.", "(3+4)*2", lambda *_: Solution((), ""), extra=extra)
    assert first_wrong(problem, lines) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"steps": ["a", "b"], "labels": [True]},
            "labels at line 2 of steps.jsonl must be a list of 2 labels, one a step, found 1",
        ),
        (
            {"steps": ["a"], "labels": [True, False]},
            "labels at line 2 of steps.jsonl must be a list of 1 labels, one a step, found 2",
        ),
        ({"steps": [], "labels": []}, "steps at line 2 of steps.jsonl must be a list of texts"),
        ({"steps": ["a", " "], "labels": [True, True]}, "steps at line 2 of steps.jsonl must be a list of texts"),
        ({"steps": "a", "labels": [True]}, "steps at line 2 of steps.jsonl must be a list of texts"),
        ({"steps": ["a"], "labels": ["maybe"]}, "labels at line 2 of steps.jsonl must be true or false, found 'maybe'"),
        ({"steps": ["a"], "labels": [0.5]}, "labels at line 2 of steps.jsonl must be true or false, found 0.5"),
        (
            {"steps": ["a"], "labels": True},
            "labels at line 2 of steps.jsonl must be a list of 1 labels, one a step, found true or false",
        ),
    ],
)
def test_step_labels_that_do_not_fit_name_their_row(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "steps.jsonl"
    good = {"prompt": "p", "steps": ["a"], "labels": [True]}
    file.write_text("".join(json.dumps({**good, **extra}) + "\n" for extra in ({}, row)))
    with pytest.raises(DataError) as caught:
        load(DataConfig(name=str(file)), StepwiseSolution)
    assert message in str(caught.value)


def test_columns_of_the_public_sets_are_known(tmp_path: Path) -> None:
    file = tmp_path / "prm800k.jsonl"
    file.write_text(json.dumps({"prompt": "p", "completions": ["a", "b"], "labels": [True, False]}) + "\n")
    loaded = load(DataConfig(name=str(file)), StepwiseSolution)
    assert loaded.train == [StepwiseSolution("p", ("a", "b"), (True, False))]
    assert loaded.columns["steps"] == "completions"
