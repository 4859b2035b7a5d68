"""What the bench derives from a task, and how it reads labelled rows."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import DataError
from rlllm.core.records import PromptTask
from rlllm.parsing.numbers import read_number
from rlllm.rewards.bench.answer_variants import STYLES, problems
from rlllm.rewards.bench.cases import read_cases, shipped, shipped_names, shipped_params
from rlllm.rewards.bench.derived_cases import ATTACK, FORM, derive
from rlllm.rewards.registry import REWARDS

TASKS = [PromptTask("What is 17 + 25?", "42"), PromptTask("What is 9 - 16?", "-7"), PromptTask("1000 * 2?", "2000")]


def by_kind(style: str = "hash") -> dict[str, list[str]]:
    found = defaultdict(list)
    for case in derive(TASKS, STYLES[style]):
        if case.sample.prompt == TASKS[0].prompt:
            found[case.kind].append(case.sample.completion)
    return found


def test_gold_and_framings_pass_and_everything_else_demanded_fails() -> None:
    labels = defaultdict(set)
    for case in derive(TASKS, STYLES["hash"]):
        labels[case.kind].add(case.label)
    passing = {"gold", "white space", "restated question", "long working", "numbers in the working", "no working"}
    assert {kind for kind, found in labels.items() if found == {True}} == passing
    assert all(found == {None} for kind, found in labels.items() if kind.startswith(FORM))
    assert all(
        found == {False} for kind, found in labels.items() if kind.startswith((ATTACK, "wrong", "empty", "trunc"))
    )


def test_completions_are_what_their_names_say() -> None:
    found = by_kind()
    assert found["gold"] == ["Let us work it out step by step.\n#### 42"]
    assert found["attack: this or that"][0].endswith("#### 42 or 43")
    assert found["attack: every option marked"][0].splitlines()[-2:] == ["#### 42", "#### -7"]
    assert found["attack: answer in the middle"][0].endswith("The answer is 42. On second thought, it is not.\n#### 43")
    assert found["attack: copied prompt"] == ["What is 17 + 25?"]
    assert found["attack: number of the question"][0].endswith("#### 17")
    assert found["truncated"][-1].endswith("#### 4")
    assert found["form: decimal"][0].endswith("#### 42.0")
    assert by_kind("boxed")["gold"][0].endswith("\\boxed{42}")
    assert by_kind("plain")["gold"] == ["42"]


def test_an_answer_with_a_unit_is_attacked_by_its_unit() -> None:
    task = PromptTask("a=3 m/s^2, t=2 s. v?", "6 m/s")
    found = {case.kind: case.sample.completion.split("\n")[-1] for case in derive([task], STYLES["boxed"])}
    assert found["attack: unit alone"] == "\\boxed{m/s}"
    assert found["attack: number of the question"] == "\\boxed{3 m/s}"


def test_options_of_the_row_are_the_ones_that_are_listed() -> None:
    task = PromptTask("Which?", "B", {"options": ["A", "B", "C"]})
    listed = [
        c.sample.completion for c in derive([task], STYLES["boxed"]) if c.kind == "attack: all options in one marker"
    ]
    assert listed[0].endswith("\\boxed{A, B, C}")


@given(st.lists(st.integers(-9999, 9999).map(str) | st.text(min_size=1), min_size=1, max_size=5))
def test_no_wrong_answer_equals_the_right_one(answers: list[str]) -> None:
    for problem in problems([PromptTask("?", answer) for answer in answers], STYLES["hash"]):
        right = read_number(problem.answer)
        assert problem.answer not in problem.wrong
        assert right is None or all((n := read_number(w)) is None or n.value != right.value for w in problem.wrong)


@given(st.lists(st.none() | st.text(max_size=30), max_size=4), st.sampled_from(sorted(STYLES)))
def test_any_answers_give_cases(answers: list[str | None], style: str) -> None:
    cases = derive([PromptTask("?", answer) for answer in answers], STYLES[style])
    assert {case.kind for case in cases} >= {"gold", "empty"} if any(a and a.strip() for a in answers) else True


def test_rows_become_cases_and_tasks() -> None:
    rows = [
        {"prompt": "p", "completion": "c", "label": True, "answer": 3, "numbers": [1]},
        {"prompt": "p", "completion": "c", "score": None},
        {"prompt": "p", "answer": "3"},
    ]
    found = read_cases(enumerate_places(rows), "x.jsonl")
    assert [(case.label, case.stated and case.stated.value) for case in found.cases] == [(True, None), (None, None)]
    assert found.cases[1].stated is not None
    assert (found.cases[0].sample.answer, found.cases[0].sample.meta) == ("3", {"numbers": [1]})
    assert [task.answer for task in found.tasks] == ["3"]


def enumerate_places(rows: list[object]) -> list[tuple[str, object]]:
    return [(f"line {number}", row) for number, row in enumerate(rows, start=1)]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([], "an object"),
        ({"completion": "c", "label": True}, "needs a prompt"),
        ({"prompt": [1], "completion": "c", "label": True}, "needs a prompt"),
        ({"prompt": [{"role": "user"}], "answer": "3"}, "needs a prompt"),
        ({"prompt": "p", "completion": "c"}, "either a label or a score"),
        ({"prompt": "p", "completion": "c", "label": True, "score": 1}, "either a label or a score"),
        ({"prompt": "p", "completion": 3, "label": True}, "completion is text"),
        ({"prompt": "p", "completion": "c", "label": "yes"}, "true or false"),
        ({"prompt": "p", "completion": "c", "score": "1"}, "a number or null"),
        ({"prompt": "p", "completion": "c", "score": float("nan")}, "a number or null"),
        ({"prompt": "p", "completion": "c", "score": 1, "tokens": -1}, "whole number"),
        ({"prompt": "p", "label": True}, "there is none"),
    ],
)
def test_a_row_that_says_nothing_is_refused_with_its_place(row: object, fault: str) -> None:
    with pytest.raises(DataError, match=f"line 1: .*{fault}"):
        read_cases(enumerate_places([row]), "x.jsonl")


def test_shipped_cases_belong_to_rewards_that_exist_and_hold_for_their_arguments_only() -> None:
    for name in shipped_names():
        assert name in REWARDS
        assert shipped(name, {}) == shipped(name, shipped_params(name))
        assert shipped(name, {"no such": 1}) is None
    assert shipped("random", {}) is None


def test_every_kind_of_program_that_is_right_has_a_wrong_twin() -> None:
    labels: dict[str, set[bool | None]] = {}
    cases = shipped("code", {})
    assert cases is not None
    for case in cases.cases:
        labels.setdefault(case.kind, set()).add(case.label)
    assert [kind for kind, found in labels.items() if True in found and False not in found] == []


def test_a_case_may_show_an_image_as_a_record_does() -> None:
    parts = [{"type": "image", "image": "/a.png"}, {"type": "text", "text": "How many?"}]
    rows = [{"prompt": [{"role": "user", "content": parts}], "answer": "2", "completion": "#### 2", "label": True}]
    (case,) = read_cases([("row 1", rows[0])], "cases").cases
    assert case.sample.prompt == rows[0]["prompt"]
    for broken in ([{"type": "image"}], [{"type": "video", "video": "a"}], [], [7]):
        with pytest.raises(DataError, match="a row needs a prompt"):
            read_cases([("row 1", {**rows[0], "prompt": [{"role": "user", "content": broken}]})], "cases")
