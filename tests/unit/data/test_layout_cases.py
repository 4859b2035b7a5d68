"""Files of other tools and public data sets as rlllm reads them: one file of each kind in `tests/cases/data`, and others.

Decided where a case is debatable: messages as JSON text are read (`test_chat_rows`); a truth value as an answer is the text
`true` or `false`; a list of answers says that each of them is right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import DataError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    Sample,
    accepted_answers,
)
from rlllm.data.config import DataConfig
from rlllm.data.io.formats import number_rows
from rlllm.data.load import load
from rlllm.data.to_records import adapt
from rlllm.rewards.other_tools import VERL

CASES = Path(__file__).parents[2] / "cases" / "data"
FRUIT = [{"role": "user", "content": "Name a fruit."}]


def case(name: str, kind: type[Record]) -> list[Any]:
    return load(DataConfig(name=str(CASES / name)), kind).train


def read(row: dict[str, Any], kind: type[Record]) -> Any:
    return adapt(number_rows([row], "rows"), kind, {}, "rows")[0][0]


def test_labelled_conversations_are_labelled_completions_and_pairs() -> None:
    assert case("kto-messages.jsonl", LabelledCompletion) == [
        LabelledCompletion(FRUIT, "Apple.", True),
        LabelledCompletion(FRUIT, "Brick.", False),
    ]
    assert case("kto-messages.jsonl", PreferencePair) == [PreferencePair(FRUIT, "Apple.", "Brick.")]


@pytest.mark.parametrize(
    ("label", "good"), [(True, True), ("false", False), (1, True), (0, False), (1.0, True), ("yes", True)]
)
@pytest.mark.parametrize("name", ["label", "kto_tag"])
def test_a_label_may_be_written_in_several_ways(label: Any, good: bool, name: str) -> None:
    turns = [{"from": "human", "value": "Name a fruit."}, {"from": "gpt", "value": "Apple."}]
    assert read({"conversations": turns, name: label}, LabelledCompletion) == LabelledCompletion(FRUIT, "Apple.", good)


def test_the_rejected_response_of_ms_swift_makes_a_pair() -> None:
    assert case("swift-rejected.jsonl", PreferencePair) == [PreferencePair(FRUIT, "Apple.", "Brick.")]


def test_answers_may_be_truth_values_numbers_and_lists() -> None:
    answers = [task.answer for task in case("bool-answer.jsonl", PromptTask)]
    assert answers == ["42", "0.3333333333333333", "1180591620717411303424", "0.5", "true"]
    assert accepted_answers(case("list-answer.jsonl", PromptTask)[2].answer) == ["1", "2"]


@pytest.mark.parametrize(
    ("row", "accepted"),
    [
        ({"prompt": "q", "answer": False}, ["false"]),
        ({"question": "q", "final_answer": ["$\\frac{1}{2}$"]}, ["$\\frac{1}{2}$"]),
        ({"question": "q", "golden_answers": ["Paris", "City of Paris"]}, ["Paris", "City of Paris"]),
        ({"question": "q", "answers": {"text": ["in 1969", "1969"], "answer_start": [3, 6]}}, ["in 1969", "1969"]),
        ({"prompt": "q", "answer": [True, 2, "x"]}, ["true", "2", "x"]),
        ({"prompt": FRUIT, "reward_model": {"ground_truth": {"target": ["a", "b"]}}}, ["a", "b"]),
    ],
)
def test_answers_of_public_sets_accept_each_of_their_entries(row: dict[str, Any], accepted: list[str]) -> None:
    assert accepted_answers(read(row, PromptTask).answer) == accepted


CALLS = [{"name": "weather", "arguments": {"city": "SF", "text": "\\boxed{4}"}}]
POSSIBLE = [{"weather": {"city": ["SF", ""]}}]


@pytest.mark.parametrize("objects", [CALLS, CALLS[0], POSSIBLE, POSSIBLE[0], CALLS * 2])
@pytest.mark.parametrize("column", ["ground_truth", "answer", "target"])
def test_objects_in_the_answer_are_its_json_text_and_stay_beside_it(objects: Any, column: str) -> None:
    task = read({"prompt": "q", column: objects}, PromptTask)
    assert json.loads(task.answer) == task.meta[column] == objects
    text = json.dumps(objects)
    assert read({"prompt": "q", column: text}, PromptTask) == PromptTask("q", text, {})


def test_objects_in_verls_ground_truth_are_the_answer_and_its_functions_get_them_as_they_are() -> None:
    for truth in (CALLS, {"weather": {"city": ["SF"]}}, {"target": ["a", "b"]}):
        task = read({"prompt": FRUIT, "reward_model": {"style": "rule", "ground_truth": truth}}, PromptTask)
        assert json.loads(task.answer) == truth
        assert VERL.supplied([Sample("q", "", task.answer, task.meta)])["ground_truth"] == truth


def test_an_empty_list_is_no_answer_and_stays_in_its_column() -> None:
    assert read({"prompt": "q", "ground_truth": []}, PromptTask) == PromptTask("q", None, {"ground_truth": []})


def test_an_answer_with_its_aliases_is_refused() -> None:
    with pytest.raises(DataError, match="must be text, a number, or a list"):
        read({"question": "q", "answer": {"value": "Paris", "aliases": ["City of Paris"]}}, PromptTask)


REASONED = [{"role": "assistant", "content": "2", "reasoning_content": "One more."}]


@pytest.mark.parametrize("column", ["reasoning_content", "thinking", "reasoning"])
def test_a_column_of_reasoning_is_the_reasoning_of_the_completion(column: str) -> None:
    row = {"prompt": "1 + 1?", "completion": "2", column: "One more."}
    assert read(row, Conversation) == Conversation("1 + 1?", REASONED)
    turns = {**row, "completion": [{"role": "assistant", "content": "2"}]}
    assert read(turns, Conversation).completion == REASONED
    assert (
        read({"instruction": "1 + 1?", "input": "", "output": "2", column: "One more."}, Conversation).completion
        == REASONED
    )
    off = adapt(number_rows([row], "rows"), Conversation, {"reasoning": "none"}, "rows")[0][0]
    assert off == Conversation("1 + 1?", "2", {column: "One more."})
    assert read({**row, column: None}, Conversation) == Conversation("1 + 1?", "2")


def test_reasoning_goes_with_a_completion_to_learn() -> None:
    row = {"prompt": "1 + 1?", "answer": "2", "thinking": "One more."}
    assert read(row, PromptTask) == PromptTask("1 + 1?", "2", {"thinking": "One more."})
    with pytest.raises(DataError, match="goes with a completion to learn, and these are PromptTask rows"):
        adapt(number_rows([row], "rows"), PromptTask, {"reasoning": "thinking"}, "rows")


def test_a_query_with_a_response_and_a_rejected_one_is_a_pair() -> None:
    row = {
        "query": "Name a fruit.",
        "response": "Apple.",
        "rejected_response": "Brick.",
        "history": [["Hi.", "Hello."]],
    }
    pair = read(row, PreferencePair)
    assert (pair.chosen, pair.rejected, len(pair.prompt)) == ("Apple.", "Brick.", 3)


def test_results_in_other_boxes_of_latex_are_read() -> None:
    assert [task.answer for task in case("fbox.jsonl", PromptTask)] == ["\\text{A}", "7", "3"]
    assert len(case("fbox.jsonl", Conversation)) == 3


def test_rows_with_a_column_meta_are_plain_rows() -> None:
    tasks = case("meta-column.jsonl", PromptTask)
    assert [(task.answer, task.meta) for task in tasks] == [
        ("1", {"meta": {"a": 1}}),
        ("2", {"meta": {"b": [1, 2]}}),
        ("2", {"meta": None}),
    ]


def test_a_table_with_semicolons_is_read() -> None:
    assert case("semicolon.csv", PromptTask) == [PromptTask("6*7?", "42")]


WALK = [json.loads(line) for line in (CASES.parents[1] / "fixtures" / "layout_walk.jsonl").read_text().splitlines()]
SCHEMAS = CASES.parents[1] / "fixtures" / "schemas"


def test_the_walk_is_over_twenty_layouts() -> None:
    assert len({step["layout"] for step in WALK}) >= 20


@pytest.mark.parametrize("step", WALK, ids=lambda step: step["layout"])
def test_rows_of_a_layout_become_the_tokens_that_were_looked_at(tmp_path: Path, step: dict[str, Any]) -> None:
    from rlllm.tools.data.show import show_data

    rows = json.loads((SCHEMAS / f"{step['layout']}.json").read_text())["rows"]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = show_data(str(path), kind=step["kind"], rows=9, model="nano")
    assert (shown.kind, len(shown.records)) == (step["record"], step["rows"])
    sequences = shown.records[-1].sequences
    trained = {
        view.name: [view.rendered, "".join(token.text for token in view.tokens if token.trains)] for view in sequences
    }
    assert trained == step["last_row"]
    assert all(not view.notes and (view.check is None or view.check.same) for view in sequences)
