"""Rows as they are found in the wild, to records; and rows that do not fit, to one message."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
)
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.files import number_rows
from rlllm.data.to_records import adapt

USER = {"role": "user", "content": "2 + 2?"}
FOUR = {"role": "assistant", "content": "4"}
FIVE = {"role": "assistant", "content": "5"}
SYSTEM = {"role": "system", "content": "Be brief."}
GSM8K = {"question": "How many?", "answer": "36 + 36 = 72\n#### 72"}
ALPACA = {"instruction": "Add.", "input": "2 and 2", "output": "4"}
VERL = {
    "data_source": "gsm8k",
    "prompt": [USER],
    "reward_model": {"style": "rule", "ground_truth": "4"},
    "extra_info": {"index": 0},
}
SHAREGPT = {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]}
HH = {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: Hey you."}


def one(row: dict[str, Any], kind: type[Record], columns: dict[str, str] | None = None) -> Record:
    records, _ = adapt(number_rows([row], "rows"), kind, columns or {}, "rows")
    return records[0]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "p", "answer": "a", "id": 3}, PromptTask("p", "a", {"id": 3})),
        ({"prompt": "p"}, PromptTask("p")),
        ({"prompt": "p", "answer": None}, PromptTask("p")),
        ({"problem": "p", "solution": "a"}, PromptTask("p", "a")),
        ({"question": "p", "final_answer": 72}, PromptTask("p", "72")),
        ({"query": "p", "target": 0.5}, PromptTask("p", "0.5")),
        ({"query": "p", "target": 72.0}, PromptTask("p", "72")),
        ({"query": "p", "target": float("nan")}, PromptTask("p")),
        ({"query": "p", "target": 10**400}, PromptTask("p", "1" + "0" * 400)),
        ({"query": "p", "target": True}, PromptTask("p", "true")),
        ({"query": "p", "target": ["1", 2]}, PromptTask("p", '{"target": ["1", "2"]}')),
        ({"query": "p", "target": ["1"]}, PromptTask("p", "1")),
        ({"query": "p", "answer": {"target": ["a", "b"]}}, PromptTask("p", '{"target": ["a", "b"]}')),
        ({"input": "p", "output": "a"}, PromptTask("p", "a")),
        (GSM8K, PromptTask("How many?", "72", {"answer": GSM8K["answer"]})),
        ({"question": "p", "answer": "#### 1,072"}, PromptTask("p", "1072", {"answer": "#### 1,072"})),
        ({"question": "p", "answer": None, "solution": "a"}, PromptTask("p", "a", {"answer": None})),
        (ALPACA, PromptTask("Add.\n\n2 and 2", "4")),
        ({**ALPACA, "input": ""}, PromptTask("Add.", "4")),
        (VERL, PromptTask([USER], "4", {key: VERL[key] for key in ("data_source", "reward_model", "extra_info")})),
        ({"messages": [SYSTEM, USER, FOUR]}, PromptTask([SYSTEM, USER])),
        ({"messages": [USER], "answer": "4"}, PromptTask([USER], "4")),
        ({"messages": [USER], "system": "Be brief."}, PromptTask([SYSTEM, USER])),
    ],
)
def test_prompt_tasks_are_read_from_well_known_columns(row: dict[str, Any], expected: PromptTask) -> None:
    assert one(row, PromptTask) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "p", "completion": "c"}, Conversation("p", "c")),
        ({"prompt": "", "completion": "c"}, Conversation("", "c")),
        ({"question": "p", "response": "c", "n": 1}, Conversation("p", "c", {"n": 1})),
        ({"question": "p", "answer": 4}, Conversation("p", "4")),
        (GSM8K, Conversation("How many?", GSM8K["answer"])),
        ({"problem": "p", "solution": "long", "answer": "4"}, Conversation("p", "long", {"answer": "4"})),
        (ALPACA, Conversation("Add.\n\n2 and 2", "4")),
        (SHAREGPT, Conversation([USER], "4")),
        ({**SHAREGPT, "system": "Be brief."}, Conversation([SYSTEM, USER], "4")),
        ({"messages": [USER, FOUR, USER, FIVE]}, Conversation([USER, FOUR, USER], "5", trained_turns=(1,))),
        ({"messages": [USER, FOUR, USER]}, Conversation([USER], "4")),
        ({"messages": [{**USER, "content": [{"type": "text", "text": "2 + 2?"}]}, FOUR]}, Conversation([USER], "4")),
        ({"prompt": [USER], "completion": [FOUR]}, Conversation([USER], "4")),
        ({"prompt": [SYSTEM], "completion": [USER, FOUR]}, Conversation([SYSTEM, USER], "4")),
        (
            {"prompt": "2 + 2?", "completion": [FIVE, USER, FOUR]},
            Conversation([USER, FIVE, USER], "4", trained_turns=(1,)),
        ),
        ({"text": "Once upon a time"}, Conversation("", "Once upon a time")),
        ({"prompt": "2 + 2?", "messages": [USER, FOUR]}, Conversation([USER], "4", {"prompt": "2 + 2?"})),
    ],
)
def test_conversations_are_read_from_well_known_columns(row: dict[str, Any], expected: Conversation) -> None:
    assert one(row, Conversation) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, PreferencePair("p", "a", "b")),
        ({"prompt": "p", "chosen": "a", "rejected": ""}, PreferencePair("p", "a", "")),
        ({"question": "p", "chosen": "a", "rejected": "b", "margin": "1.5"}, PreferencePair("p", "a", "b", 1.5)),
        ({"prompt": [USER], "chosen": [FOUR], "rejected": [FIVE]}, PreferencePair([USER], "4", "5")),
        ({"prompt": "2 + 2?", "chosen": [USER, FOUR], "rejected": [USER, FIVE]}, PreferencePair([USER], "4", "5")),
        (
            {"prompt": [SYSTEM], "chosen": [USER, FOUR], "rejected": [USER, FIVE]},
            PreferencePair([SYSTEM, USER], "4", "5"),
        ),
        ({"chosen": [USER, FOUR], "rejected": [USER, FIVE]}, PreferencePair([USER], "4", "5")),
        (HH, PreferencePair([{"role": "user", "content": "Hi"}], "Hello.", "Hey you.")),
    ],
)
def test_pairs_are_read_with_an_explicit_or_a_shared_prompt(row: dict[str, Any], expected: PreferencePair) -> None:
    assert one(row, PreferencePair) == expected


@pytest.mark.parametrize("label", [True, 1, 1.0, "true", "1", "Yes"])
def test_labels_are_read_from_booleans_and_from_the_text_of_tables(label: object) -> None:
    row = {"prompt": "p", "completion": "c", "label": label}
    assert one(row, LabelledCompletion) == LabelledCompletion("p", "c", True)


def test_stepwise_solutions_carry_a_label_for_each_step() -> None:
    row = {"prompt": "p", "completions": ["a", "b"], "labels": [True, False]}
    assert one(row, StepwiseSolution) == StepwiseSolution("p", ("a", "b"), (True, False))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"prompt": "b"}, PromptTask("B", "A", {"prompt": "P", "c": {"d": "D"}})),
        ({"answer": "c.d"}, PromptTask("P", "D", {"answer": "A", "b": "B", "c": {"d": "D"}})),
        ({"prompt": "b+prompt"}, PromptTask("B\n\nP", "A", {"c": {"d": "D"}})),
    ],
)
def test_an_explicit_map_overrides_the_well_known_names(columns: dict[str, str], expected: PromptTask) -> None:
    assert one({"prompt": "P", "answer": "A", "b": "B", "c": {"d": "D"}}, PromptTask, columns) == expected


def test_the_map_that_was_used_is_returned() -> None:
    assert adapt(number_rows([ALPACA], "x"), PromptTask, {}, "x")[1] == {
        "prompt": "instruction+input",
        "answer": "output",
    }


@pytest.mark.parametrize(
    ("row", "kind", "columns", "flag"),
    [
        ({"id": 1, "the_question": "q", "gold": "g"}, PromptTask, {}, "--columns prompt=the_question"),
        ({"ask": "q", "my_answer": "g"}, PromptTask, {}, "--columns prompt=ask,answer=my_answer"),
        ({"ask": "q", "chosen": "a", "rejected": "b"}, PreferencePair, {}, "--columns prompt=ask"),
        ({"prompt": "q", "good": "a", "bad": "b"}, PreferencePair, {}, "--columns chosen=good,rejected=bad"),
        ({"q": "q", "r": "a"}, Conversation, {}, "--columns prompt=q,completion=r"),
        ({"n": 1}, Conversation, {}, "--columns prompt=COLUMN,completion=COLUMN"),
        ({"a": "q", "b": "r"}, Conversation, {"completion": "b"}, "--columns completion=b,prompt=a"),
    ],
)
def test_a_missing_column_shows_the_columns_and_a_map_to_type(
    row: dict[str, Any], kind: type[Record], columns: dict[str, str], flag: str
) -> None:
    with pytest.raises(DataError, match="no column for") as caught:
        one(row, kind, columns)
    assert caught.value.exists == list(row)
    assert str(caught.value.hint).endswith(flag)


def test_a_suggested_map_works_when_it_is_typed() -> None:
    row = {"prompt": "q", "good": "a", "bad": "b"}
    assert one(row, PreferencePair, {"chosen": "good", "rejected": "bad"}) == PreferencePair("q", "a", "b")


def test_a_mapped_column_that_is_not_there_gets_the_nearest_name() -> None:
    with pytest.raises(DataError, match="no column qestion") as caught:
        one({"question": "q"}, PromptTask, {"prompt": "qestion"})
    assert caught.value.hint == "did you mean --columns prompt=question?"


@pytest.mark.parametrize("columns", [{"promt": "a"}, {"completion": "a"}, {"messages": "a", "prompt": "a"}])
def test_a_map_of_fields_the_record_does_not_have_is_a_config_error(columns: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        one({"a": "x"}, PromptTask, columns)


@pytest.mark.parametrize(
    ("row", "kind", "problem"),
    [
        ({"question": None}, PromptTask, r"prompt \(column question\) at row 2 of rows is null"),
        ({"question": " "}, PromptTask, "is empty"),
        ({"question": 3}, PromptTask, "must be text, found a number: 3"),
        ({"question": {"a": 1}}, PromptTask, "found an object"),
        ({"question": ["a"]}, PromptTask, "found a list"),
        (
            {"question": "q", "answer": [["1"], "2"]},
            PromptTask,
            "answer at row 2 of rows must be text, a number, or a list",
        ),
        ({"question": "q", "answer": {"a": 1}}, PromptTask, "must be text, a number, or a list"),
        ({"question": [{"role": "wizard", "content": "x"}]}, PromptTask, "unknown role 'wizard'"),
        ({"question": [{"role": "user", "content": None}]}, PromptTask, "content of message 1 at row 2 of rows"),
        ({"question": [{"role": "user", "content": [{"type": "image"}]}]}, PromptTask, "no column of images"),
        ({"question": [{"role": "assistant", "content": "", "tool_calls": [1]}]}, PromptTask, "call that is no object"),
    ],
)
def test_a_value_that_does_not_fit_names_its_row(row: dict[str, Any], kind: type[Record], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        adapt(number_rows([{"question": "q", "answer": "a"}, row], "rows"), kind, {}, "rows")


@pytest.mark.parametrize(
    ("row", "kind", "problem"),
    [
        ({"prompt": "p", "completion": ""}, Conversation, "completion at row 1 of rows is empty"),
        ({"instruction": ["i"], "input": "x", "output": "o"}, Conversation, "prompt .* found an object"),
        ({"prompt": "p", "answer": float("inf")}, PromptTask, "must be a finite number or text, found infinity"),
        ({"text": ""}, Conversation, "text at row 1 of rows is empty"),
        ({"messages": [USER]}, Conversation, "no assistant turn"),
        ({"messages": []}, Conversation, "an empty list"),
        ({"messages": "hello"}, Conversation, "expected a list of chat messages, found text"),
        ({"messages": [FOUR]}, PromptTask, "nothing before the assistant's turn"),
        ({"prompt": "p", "chosen": "", "rejected": "b"}, PreferencePair, "chosen at row 1 of rows is empty"),
        ({"prompt": "p", "chosen": "a", "rejected": None}, PreferencePair, "rejected at row 1 of rows is null"),
        ({"prompt": "p", "chosen": [USER, FOUR], "rejected": "b"}, PreferencePair, "chosen .* found a list"),
        ({"chosen": [USER, FOUR], "rejected": [SYSTEM, FIVE]}, PreferencePair, "differ before their last turn"),
        ({"chosen": [FOUR], "rejected": [FIVE]}, PreferencePair, "no column for prompt"),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "margin": "big"},
            PreferencePair,
            "finite number, found 'big'",
        ),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "margin": True}, PreferencePair, "finite number"),
        ({"prompt": "p", "completion": "c", "label": "maybe"}, LabelledCompletion, "true or false, found 'maybe'"),
        ({"prompt": "p", "completion": "c", "label": None}, LabelledCompletion, "true or false, found None"),
        ({"prompt": "p", "steps": ["a"], "labels": [True, False]}, StepwiseSolution, "a list of 1 labels"),
        ({"prompt": "p", "steps": "a", "labels": [True]}, StepwiseSolution, "a list of texts"),
    ],
)
def test_an_unusable_value_is_one_data_error(row: dict[str, Any], kind: type[Record], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        one(row, kind)


def test_rows_need_not_all_have_the_same_columns() -> None:
    rows = number_rows([{"prompt": "a"}, {"prompt": "b", "answer": "4", "extra": 1}], "rows")
    assert adapt(rows, PromptTask, {}, "rows")[0] == [PromptTask("a"), PromptTask("b", "4", {"extra": 1})]


@pytest.mark.parametrize(
    ("row", "late", "kind", "better"),
    [
        ({"instruction": "a", "output": "b"}, {"input": "c"}, Conversation, "prompt=instruction[+]input"),
        ({"prompt": "a"}, {"answer": "4"}, PromptTask, "answer=answer"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, {"margin": 2}, PreferencePair, "margin=margin"),
    ],
)
def test_a_column_that_begins_after_the_first_rows_is_not_left_out_unseen(
    row: dict[str, Any], late: dict[str, Any], kind: type[Record], better: str
) -> None:
    rows = [dict(row) for _ in range(70)]
    assert len(adapt(number_rows([*rows, dict.fromkeys(late)], "rows"), kind, {}, "rows", BadRows("skip"))[0]) == 70
    with pytest.raises(DataError, match=f"row 71 of rows has a value in the column {min(late)}") as caught:
        adapt(number_rows([*rows, {**row, **late}], "rows"), kind, {}, "rows")
    assert re.search(better, str(caught.value.hint))
    assert adapt(number_rows([{**row, **late}, *rows], "rows"), kind, {}, "rows")


def test_a_prompt_beside_messages_that_do_not_say_it_is_kept() -> None:
    pair = {"chosen": [USER, FOUR], "rejected": [USER, FIVE]}
    assert one({**pair, "prompt": USER["content"]}, PreferencePair).meta == {}
    assert one({**pair, "prompt": "You are terse."}, PreferencePair).meta == {"prompt": "You are terse."}
