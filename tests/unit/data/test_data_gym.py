"""reasoning-gym tasks as a source."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, UnknownNameError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, StepwiseSolution, record_hash
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.reasoning_gym import gym, task_names
from rlllm.data.request import DataRequest
from rlllm.parsing.answers import extract_answer

FEW = ["chain_sum", "tower_of_hanoi", "bf", "graph_color", "arc_1d", "composite"]


def make(task: str, kind: Any = PromptTask, split: Any = "train", rows: int = 2, **params: Any) -> list[Any]:
    return gym(DataRequest(kind, split, rows, 0, None, {"task": task, **params}))


def assert_rows_are_scored_by_their_own_task(task: str) -> None:
    import reasoning_gym

    for split in ("train", "holdout"):
        rows = make(task, split=split)
        assert len(rows) == 2
        for row in rows:
            assert record_hash(row)
            assert row.prompt == row.meta["gym_entry"]["question"]
            score = reasoning_gym.get_score_answer_fn(row.meta["gym_task"])
            if row.answer is not None:
                assert score(row.answer, row.meta["gym_entry"]) == pytest.approx(1.0)


@pytest.mark.parametrize("task", FEW)
def test_a_few_tasks_make_rows_their_scorer_accepts(task: str) -> None:
    assert_rows_are_scored_by_their_own_task(task)


@pytest.mark.slow
def test_every_task_makes_rows_its_scorer_accepts() -> None:
    for task in task_names():
        assert_rows_are_scored_by_their_own_task(task)


def test_the_same_request_gives_the_same_rows_and_fewer_are_a_prefix() -> None:
    assert make("acre", rows=6)[:3] == make("acre", rows=3)


def test_splits_share_no_question_even_in_a_small_task() -> None:
    data = load(DataConfig(name="gym:tower_of_hanoi", rows=300, holdout=60), PromptTask)
    assert (len(data.train), len(data.holdout)) == (300, 60)
    assert not {task.prompt for task in data.train} & {task.prompt for task in data.holdout}
    assert data.rewards == ("gym",)


def test_conversations_mark_the_answer_so_that_it_can_be_read_back() -> None:
    for task in ("chain_sum", "arc_1d", "binary_matrix"):
        for row in make(task, Conversation):
            assert extract_answer(row.completion) == row.meta["gym_entry"]["answer"].strip()


def test_pairs_reject_an_answer_that_the_task_scores_lower() -> None:
    import reasoning_gym

    score = reasoning_gym.get_score_answer_fn("chain_sum")
    for pair in make("chain_sum", PreferencePair, rows=12):
        values = [score(extract_answer(text), pair.meta["gym_entry"]) for text in (pair.chosen, pair.rejected)]
        assert values[0] > values[1]


def test_params_reach_the_task_and_travel_with_the_row() -> None:
    rows = make("chain_sum", min_terms=2, max_terms=2, min_digits=1, max_digits=1)
    assert all(row.meta["gym_entry"]["metadata"]["num_terms"] == 2 for row in rows)
    assert rows[0].meta["gym_params"] == {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


def test_a_composite_row_names_the_task_it_came_from() -> None:
    parts = [{"name": "chain_sum", "weight": 1.0, "config": {"min_terms": 2, "max_terms": 2}}]
    rows = make("composite", datasets=parts)
    assert {row.meta["gym_task"] for row in rows} == {"chain_sum"}
    assert rows[0].meta["gym_params"] == {"min_terms": 2, "max_terms": 2}


@pytest.mark.parametrize(
    ("task", "settings", "error", "problem"),
    [
        ("chain_sums", {}, UnknownNameError, "did you mean chain_sum"),
        ("", {}, ConfigError, "name of a task"),
        ("chain_sum", {"min_term": 3}, UnknownNameError, "did you mean min_terms"),
        ("chain_sum", {"seed": 3}, UnknownNameError, "unknown parameter"),
        ("chain_sum", {"min_terms": 9, "max_terms": 2}, ConfigError, "cannot make rows"),
    ],
)
def test_a_wrong_name_or_parameter_is_a_config_error(
    task: str, settings: dict[str, Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error) as caught:
        make(task, **settings)
    assert problem in str(caught.value)


def test_a_level_is_refused_because_gym_tasks_have_none() -> None:
    with pytest.raises(ConfigError, match="no levels"):
        gym(DataRequest(PromptTask, "train", 2, 0, 3, {"task": "chain_sum"}))


@pytest.mark.parametrize(
    ("task", "kind", "problem"),
    [
        ("graph_color", Conversation, "no reference answers"),
        ("graph_color", PreferencePair, "no reference answers"),
        ("puzzle24", PreferencePair, "no wrong answers"),
        ("chain_sum", StepwiseSolution, "cannot make StepwiseSolution"),
    ],
)
def test_a_record_type_that_makes_no_sense_for_a_task_is_refused(task: str, kind: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        make(task, kind)


def test_a_task_with_one_question_has_rows_for_one_split_and_says_so_for_the_other() -> None:
    assert len(make("prime_factorization", rows=5, min_value=2, max_value=2)) == 5
    with pytest.raises(DataError, match="too few questions for a holdout split: 0 of 5"):
        make("prime_factorization", split="holdout", rows=5, min_value=2, max_value=2)


def test_a_task_that_prints_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    make("bf", rows=4)
    assert capsys.readouterr().out == ""
