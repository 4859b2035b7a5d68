"""Rows whose prompt is more than one column of text: turns that train, system and history columns, reasoning, tool calls.

`tests/cases/data` holds a row of each kind, written after reports of other tools. Decided where a case is debatable: messages
as JSON text are read, since tables of verl and axolotl hold them so and a list of `{role, content}` can be nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    Message,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
    full_text,
    prompt_text,
    tools_of,
)
from rlllm.data.config import DataConfig
from rlllm.data.inspect.summary import check
from rlllm.data.io.formats import number_rows
from rlllm.data.load import load
from rlllm.data.prepare.folder import line_of, record_of
from rlllm.data.stream import stream
from rlllm.data.to_records import adapt

CASES = Path(__file__).parents[2] / "cases" / "data"
USER: Message = {"role": "user", "content": "2 + 2?"}
FOUR: Message = {"role": "assistant", "content": "4"}
AGAIN: Message = {"role": "user", "content": "And 3 + 3?"}
SIX: Message = {"role": "assistant", "content": "6"}
SYSTEM: Message = {"role": "system", "content": "Be brief."}
FRUIT: Message = {"role": "user", "content": "Name a fruit."}
CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}],
}
OSLO: Message = {"role": "user", "content": "Weather in Oslo?"}
COLD: Message = {"role": "tool", "content": "3 C"}


def read(row: dict[str, Any], kind: type[Record] = Conversation, columns: dict[str, str] | None = None) -> Any:
    records, _ = adapt(number_rows([row], "rows"), kind, columns or {}, "rows")
    return records[0]


def case(name: str) -> Any:
    return load(DataConfig(name=str(CASES / f"{name}.jsonl")), Conversation).train[0]


def test_a_turn_of_weight_zero_does_not_train() -> None:
    record = case("multi-turn-loss")
    assert (record.completion, record.trained_turns) == ("good", ())
    assert [turn["content"] for turn in record.prompt] == ["Hi", "bad", "again"]


def test_a_system_column_is_the_first_turn() -> None:
    assert case("system-column").prompt == [SYSTEM, FRUIT]


def test_a_history_column_is_the_turns_before_the_prompt_and_trains() -> None:
    record = case("history-column")
    assert prompt_text(record.prompt).splitlines() == [
        "system: Be brief.",
        "user: Name a fruit.",
        "assistant: Apple.",
        "user: Another",
    ]
    assert record.trained_turns == (2,)


def test_reasoning_belongs_to_the_completion() -> None:
    assert case("reasoning-field").completion == [
        {"role": "assistant", "content": "2", "reasoning_content": "add them"}
    ]


def test_tool_calls_their_results_and_the_tools_are_kept() -> None:
    record = case("tool-calls")
    assert record.prompt[1]["tool_calls"] == [{"id": "c1", **CALL["tool_calls"][0]}]
    assert record.prompt[2] == {**COLD, "tool_call_id": "c1"}
    assert (record.completion, record.trained_turns) == ("It is 3 C.", (1,))
    assert [tool["function"]["name"] for tool in tools_of(record.meta)] == ["weather"]


def test_sharegpt_calls_and_observations_are_the_same_messages() -> None:
    record = case("sharegpt-roles")
    assert record.prompt == [OSLO, CALL, COLD]
    assert tools_of(record.meta) == []


def test_messages_as_json_text_are_read() -> None:
    assert case("messages-json-text") == Conversation([FRUIT], "Apple.")


MARKED: list[tuple[list[dict[str, Any]], str, tuple[int, ...]]] = [
    ([USER, FOUR, AGAIN, SIX], "6", (1,)),
    ([USER, {**FOUR, "weight": 0}, AGAIN, {**SIX, "weight": 1}], "6", ()),
    ([USER, {**FOUR, "weight": 1.0}, AGAIN, SIX], "6", (1,)),
    ([USER, {**FOUR, "training": False}, AGAIN, SIX], "6", ()),
    ([USER, {**FOUR, "train": False}, AGAIN, SIX], "6", ()),
    ([USER, {**FOUR, "loss": False}, AGAIN, SIX], "6", ()),
    ([USER, FOUR, AGAIN, {**SIX, "weight": 0}], "4", ()),
    ([{**USER, "training": False}, FOUR, {**AGAIN, "weight": 1}, {**SIX, "weight": None}], "6", (1,)),
    ([SYSTEM, USER, FOUR, AGAIN, SIX, AGAIN, FOUR], "4", (2, 4)),
]


@pytest.mark.parametrize(("turns", "completion", "trained"), MARKED)
def test_marks_of_messages_decide_which_turns_train(
    turns: list[dict[str, Any]], completion: str, trained: tuple[int, ...]
) -> None:
    record = read({"messages": turns})
    assert (record.completion, record.trained_turns) == (completion, trained)
    assert not any({"weight", "train", "training", "loss"} & turn.keys() for turn in record.prompt)


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ([USER, {**FOUR, "weight": 0}], "leave no assistant turn"),
        ([USER, {**FOUR, "weight": 0.5}], "neither 0 nor 1"),
        ([USER, {**FOUR, "training": "yes"}], "neither 0 nor 1"),
        ([{**USER, "training": True}, FOUR], "is the user's"),
    ],
)
def test_marks_that_cannot_be_honoured_are_refused(turns: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read({"messages": turns})


def test_turns_of_a_prompt_column_do_not_train_and_those_of_a_completion_do() -> None:
    assert read({"prompt": [USER, FOUR, AGAIN], "completion": "6"}).trained_turns == ()
    record = read({"prompt": [USER], "completion": [CALL, COLD, FOUR], "system": "Be brief."})
    assert record.prompt == [SYSTEM, USER, CALL, COLD]
    assert record.trained_turns == (2,)


CONTEXT: list[tuple[type[Record], dict[str, Any]]] = [
    (Conversation, {"question": "2 + 2?", "response": "4"}),
    (Conversation, {"messages": [USER, FOUR]}),
    (Conversation, {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]}),
    (Conversation, {"instruction": "2 + 2?", "input": "", "output": "4"}),
    (PromptTask, {"problem": "2 + 2?", "solution": "4"}),
    (PromptTask, {"messages": [USER]}),
    (PreferencePair, {"question": "2 + 2?", "chosen": "4", "rejected": "5"}),
    (PreferencePair, {"chosen": [USER, FOUR], "rejected": [USER, SIX]}),
    (
        PreferencePair,
        {
            "conversations": [{"from": "human", "value": "2 + 2?"}],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "6"},
        },
    ),
    (LabelledCompletion, {"prompt": "2 + 2?", "completion": "4", "label": True}),
    (StepwiseSolution, {"prompt": "2 + 2?", "completions": ["4"], "labels": [True]}),
]


@pytest.mark.parametrize(("kind", "row"), CONTEXT)
@pytest.mark.parametrize("column", ["system", "system_prompt"])
def test_one_rule_puts_the_context_in_front_of_any_record(kind: type[Record], row: dict[str, Any], column: str) -> None:
    record = read({**row, column: "Be brief.", "history": [["1 + 1?", "2"]]}, kind)
    assert prompt_text(record.prompt) == "system: Be brief.\nuser: 1 + 1?\nassistant: 2\nuser: 2 + 2?"
    assert not {column, "history"} & record.meta.keys()
    blank = read({**row, column: "", "history": None}, kind)
    assert prompt_text(blank.prompt) == "2 + 2?"


@pytest.mark.parametrize(
    "history",
    [
        [["2 + 2?", "4"]],
        [USER, FOUR],
        [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}],
        '[["2 + 2?", "4"]]',
    ],
)
def test_a_history_is_pairs_or_messages(history: Any) -> None:
    assert read({"prompt": "And 3 + 3?", "response": "6", "history": history}).prompt == [USER, FOUR, AGAIN]


def test_messages_with_a_system_turn_keep_their_own() -> None:
    record = read({"messages": [SYSTEM, USER, FOUR], "system": "Be long."})
    assert record.prompt == [SYSTEM, USER]


@pytest.mark.parametrize("field", ["system", "history", "tools"])
def test_a_context_column_can_be_mapped_or_left_out(field: str) -> None:
    value: Any = {"system": "Be brief.", "history": [["a", "b"]], "tools": [{"name": "f"}]}[field]
    row = {"prompt": "2 + 2?", "completion": "4", field: value}
    left_out = read(row, columns=DataConfig.checked({"name": "x", "columns": {field: None}}).columns)
    assert (left_out.prompt, tools_of(left_out.meta)) == ("2 + 2?", [])
    assert field in left_out.meta
    mapped = read({"prompt": "2 + 2?", "completion": "4", "mine": value}, columns={field: "mine"})
    assert mapped.prompt != "2 + 2?" or tools_of(mapped.meta) == [{"name": "f"}]
    with pytest.raises(DataError, match="no column other"):
        read(row, columns={field: "other"})


@pytest.mark.parametrize(
    ("column", "value"), [("system", 3), ("history", "a long story"), ("tools", "a hammer"), ("tools", ["hammer"])]
)
def test_a_column_of_that_name_with_other_values_stays_a_column(column: str, value: Any) -> None:
    record = read({"prompt": "2 + 2?", "completion": "4", column: value})
    assert (record.prompt, record.meta) == ("2 + 2?", {column: value})


CALLS: list[dict[str, Any]] = [
    CALL,
    {"role": "assistant", "content": None, "tool_calls": CALL["tool_calls"]},
    {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}]},
    {"role": "assistant", "content": "", "function_call": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
    {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Oslo"}}'},
    {"from": "function_call", "value": '[{"name": "weather", "parameters": {"city": "Oslo"}}]'},
    {"role": "tool_call", "content": '{"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}'},
    {"role": "assistant", "content": "", "tool_calls": json.dumps(CALL["tool_calls"])},
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("result", ["tool", "function", "observation", "ipython", "tool_response"])
def test_tool_calls_in_any_spelling_are_one_message(call: dict[str, Any], result: str) -> None:
    record = read({"messages": [OSLO, call, {"role": result, "content": "3 C"}, FOUR]})
    assert record.prompt == [OSLO, CALL, COLD]
    assert record.trained_turns == (1,)


@pytest.mark.parametrize("speaker", ["assistant", "gpt", "chatgpt", "bing", "bard", "model", "Assistant"])
def test_all_names_of_the_assistant_are_one_role(speaker: str) -> None:
    assert read({"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": speaker, "value": "4"}]}) == (
        Conversation([USER], "4")
    )


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_under_any_name_is_kept(key: str) -> None:
    said = [{**FOUR, "reasoning_content": "two twos"}]
    assert read({"messages": [USER, {**FOUR, key: "two twos"}]}).completion == said
    parts = [{"type": "thinking", "thinking": "two twos"}, {"type": "text", "text": "4"}]
    assert read({"messages": [USER, {"role": "assistant", "content": parts}]}).completion == said
    pair = read({"prompt": "2 + 2?", "chosen": [{**FOUR, key: "two twos"}], "rejected": [SIX]}, PreferencePair)
    assert (pair.chosen, pair.rejected) == (said, "6")


def test_unknown_keys_go_to_the_template_and_do_not_make_pairs_differ() -> None:
    sides = {"chosen": [{**USER, "id": 1}, FOUR], "rejected": [{**USER, "id": 2}, {**SIX, "id": None}]}
    pair = read(sides, PreferencePair)
    assert (pair.prompt, pair.rejected) == ([{**USER, "id": 1}], "6")


@pytest.mark.parametrize("tools", [[{"name": "f"}], '[{"name": "f"}]', ['{"name": "f"}'], {"name": "f"}])
def test_tools_are_objects_or_their_json_text(tools: Any) -> None:
    for kind in (Conversation, PromptTask):
        assert tools_of(read({"prompt": "p", "completion": "c", "tools": tools}, kind).meta) == [{"name": "f"}]


def test_a_completion_of_calls_alone_is_text_for_a_reader() -> None:
    record = read({"messages": [OSLO, CALL]})
    assert record.completion == [CALL]
    assert full_text(record.completion) == '{"name": "weather", "arguments": {"city": "Oslo"}}'


def test_records_with_turns_calls_and_reasoning_come_back_from_a_prepared_folder() -> None:
    for name in ("history-column", "tool-calls", "reasoning-field"):
        record = case(name)
        assert record_of(line_of(record), Conversation) == record
        assert read(json.loads(line_of(record))) == record


def test_a_record_with_only_its_completion_to_train_is_stored_as_before() -> None:
    assert json.loads(line_of(Conversation("p", "c"))) == {"prompt": "p", "completion": "c", "meta": {}}


def written(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_system_prompt_stands_before_every_prompt_without_one(tmp_path: Path) -> None:
    (tmp_path / "brief.txt").write_text("Be brief.\n", encoding="utf-8")
    turns = [{"messages": [USER, FOUR, AGAIN, SIX]}, {"messages": [{**SYSTEM, "content": "Be long."}, USER, FOUR]}]
    config = DataConfig(name=written(tmp_path, *turns), system_prompt=f"@{tmp_path / 'brief.txt'}")
    loaded = load(config, Conversation)
    assert config.system_prompt == "Be brief."
    assert [record.prompt[0]["content"] for record in loaded.train] == ["Be brief.", "Be long."]
    assert loaded.train[0].trained_turns == (2,)
    assert "system prompt before 1 rows (1 keep their own)" in loaded.source
    assert list(stream(config, Conversation)) == loaded.train


def test_a_system_prompt_reaches_procedural_rows_and_changes_no_holdout(tmp_path: Path) -> None:
    settings = {"name": "arithmetic", "rows": 4, "holdout": 4}
    plain, prompted = (
        load(DataConfig.checked({**settings, **more}), PromptTask) for more in ({}, {"system_prompt": "s"})
    )
    assert [task.prompt[-1]["content"] for task in prompted.holdout] == [task.prompt for task in plain.holdout]
    assert plain.hash != prompted.hash
    rows = [{"prompt": f"{number} + 1?", "completion": "2"} for number in range(8)]
    file = {"name": written(tmp_path, *rows), "holdout": 3}
    plain, prompted = (
        load(DataConfig.checked({**file, **more}), Conversation) for more in ({}, {"system_prompt": "s"})
    )
    assert [record.prompt[-1]["content"] for record in prompted.holdout] == [record.prompt for record in plain.holdout]


def test_a_system_prompt_is_refused_for_plain_text_and_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plain text"):
        load(DataConfig(name=written(tmp_path, {"text": "Once"}), system_prompt="s"), Conversation)
    with pytest.raises(ConfigError, match="file of the system prompt"):
        DataConfig.checked({"name": "arithmetic", "system_prompt": "@nowhere.txt"})


def test_the_plan_counts_turns_calls_reasoning_and_keys_that_nothing_reads(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    rows = [
        {"messages": [SYSTEM, OSLO, CALL, COLD, FOUR], "tools": tools},
        {"messages": [{**USER, "id": 7}, {**FOUR, "weight": 0, "thinking": "hm"}, AGAIN, SIX]},
    ]
    report = check(load(DataConfig(name=written(tmp_path, *rows)), Conversation))
    assert report.chats == [
        "turns of the assistant: 4, of which the data has 3 train",
        "chats: a system message in 1 rows, descriptions of tools in 1 rows, reasoning in 1 turns, tool calls in 1 turns",
    ]
    assert [finding.words for finding in report.all_findings() if finding.name == "message keys"] == [
        "keys of messages that nothing reads unless the chat template does: id (1)"
    ]
    assert set(report.chats) <= set(report.lines())
