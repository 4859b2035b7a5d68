"""Exercises: every row can be solved, its own solution passes its own reward, and no exercise is in both splits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, UnknownNameError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Sample
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.procedural.homonyms import BENIGN, HARMFUL
from rlllm.data.procedural.instructions import FAMILIES
from rlllm.data.procedural.problems import in_turn
from rlllm.data.registry import DATASETS
from rlllm.data.request import DataRequest
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

LEVELS = [("instructions", level) for level in (1, 2, 3, 4)] + [("calls", level) for level in (1, 2, 3, 4)]
NAMES = ["instructions", "calls", "choices", "homonyms"]


def rows(name: str, **request: Any) -> list[PromptTask]:
    return DATASETS.load(name)(DataRequest(**request))


def scores(reward: str, tasks: list[PromptTask], completions: list[str]) -> list[float | None]:
    samples = [Sample(t.prompt, text, t.answer, t.meta) for t, text in zip(tasks, completions, strict=True)]
    return build([RewardSpec(name=reward)]).score(samples).values[0]


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_every_solution_follows_the_rule_of_its_row(name: str, level: int) -> None:
    tasks = rows(name, rows=400, level=level)
    assert scores(name, tasks, [task.meta["solution"] for task in tasks]) == [1.0] * len(tasks)


@pytest.mark.parametrize("task", ["arithmetic", "countdown", "lists"])
def test_the_right_label_is_right_and_every_other_one_is_wrong(task: str) -> None:
    tasks = rows("choices", rows=300, params={"task": task})
    assert scores("choice", tasks, [one.meta["solution"] for one in tasks]) == [1.0] * len(tasks)
    for label in "ABCD":
        assert scores("choice", tasks, [f"#### {label}"] * len(tasks)) == [float(one.answer == label) for one in tasks]
    assert all(len(set(one.meta["options"])) == 4 for one in tasks)
    assert min(Counter(one.answer for one in tasks).values()) > 40


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_gives_the_same_rows_and_the_splits_share_no_prompt(name: str) -> None:
    train, again, held = (rows(name, rows=150, split=split) for split in ("train", "train", "holdout"))
    assert train == again
    assert len(train) == 150
    assert held
    assert not {one.prompt for one in train} & {one.prompt for one in held}
    assert rows(name, rows=20, seed=1) != rows(name, rows=20)


@pytest.mark.parametrize("name", NAMES)
def test_as_conversations_the_completion_is_the_solution(name: str) -> None:
    tasks = rows(name, rows=10)
    spoken: list[Any] = rows(name, rows=10, kind=Conversation)
    assert [(one.prompt, one.completion) for one in spoken] == [(t.prompt, t.meta["solution"]) for t in tasks]


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_made_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="PreferencePair"):
        rows(name, kind=PreferencePair)
    with pytest.raises(ConfigError, match="levels 1 to"):
        rows(name, level=9)
    with pytest.raises(UnknownNameError, match="parameter of"):
        rows(name, params={"colour": 1})


def test_all_families_of_instructions_are_drawn_and_as_many_as_the_level_says() -> None:
    tasks = rows("instructions", rows=600, level=3)
    assert {name for one in tasks for name in one.meta["instruction_id_list"]} == set(FAMILIES)
    assert {len(one.meta["instruction_id_list"]) for one in tasks} == {3}


def test_an_answer_that_ignores_the_instructions_mostly_fails() -> None:
    tasks = rows("instructions", rows=300, level=3)
    passed = scores("instructions", tasks, ["This is a Text, and that is all."] * len(tasks))
    assert sum(value or 0.0 for value in passed) < 0.05 * len(tasks)


def test_a_call_with_a_wrong_argument_or_to_another_function_fails() -> None:
    tasks = rows("calls", rows=100, level=2)
    wrong = [str(one.meta["solution"]).replace('"arguments": {', '"arguments": {"x": 1, ') for one in tasks]
    assert scores("calls", tasks, wrong) == [0.0] * len(tasks)
    assert scores("calls", rows("calls", rows=100, level=4), ['[{"name": "f", "arguments": {}}]'] * 100) == [0.0] * 100


def test_homonyms_are_harmful_and_benign_in_equal_parts() -> None:
    counts = Counter(one.meta["label"] for one in rows("homonyms", rows=300))
    assert set(counts) == {HARMFUL, BENIGN}
    assert 100 < counts[HARMFUL] < 200


def test_levels_in_the_name_are_taken_in_turn() -> None:
    loaded = load(DataConfig(name="arithmetic:1-5", rows=10, holdout=100), PromptTask)
    assert [one.meta["level"] for one in loaded.train] == [1, 2, 3, 4, 5] * 2
    counts = Counter(one.meta["level"] for one in loaded.holdout)
    assert set(counts) == {1, 2, 3, 4, 5}
    assert len(loaded.holdout) == 100, "levels that are used up leave their rows to the others"
    assert load(DataConfig(name="arithmetic:3", rows=4), PromptTask).train == (
        load(DataConfig(name="arithmetic", level=3, rows=4), PromptTask).train
    )


@pytest.mark.parametrize("name", ["arithmetic:0-2", "arithmetic:4-9", "arithmetic:5-1", "arithmetic:hard", "lists:1-"])
def test_levels_that_do_not_exist_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="has levels 1 to"):
        load(DataConfig(name=name), PromptTask)


def test_a_level_beside_levels_is_refused() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        load(DataConfig(name="arithmetic:1-2", level=1), PromptTask)


def test_streams_of_unequal_length_are_taken_in_turn_to_their_ends() -> None:
    assert list(in_turn([iter("abc"), iter("1"), iter("")])) == ["a", "1", "b", "c"]


def test_ids_restrict_the_instructions_of_a_prompt() -> None:
    one = rows("instructions", rows=30, params={"ids": "keywords:existence"})
    assert {tuple(task.meta["instruction_id_list"]) for task in one} == {("keywords:existence",)}
    ids = ["change_case:english_lowercase", "change_case:english_capital", "punctuation:no_comma"]
    two = rows("instructions", rows=30, level=2, params={"ids": ids})
    assert all(set(task.meta["instruction_id_list"]) < set(ids) for task in two)
    assert all("punctuation:no_comma" in task.meta["instruction_id_list"] for task in two)
    assert rows("instructions", rows=20, params={"ids": list(FAMILIES)}) == rows("instructions", rows=20)


def test_ids_that_do_not_exist_or_cannot_be_combined_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="keywords:existense"):
        rows("instructions", params={"ids": ["keywords:existense"]})
    with pytest.raises(ConfigError, match="fewer of these go together"):
        rows("instructions", level=2, params={"ids": ["change_case:english_lowercase", "change_case:english_capital"]})
    with pytest.raises(ConfigError, match="empty"):
        rows("instructions", params={"ids": []})
