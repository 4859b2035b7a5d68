"""What is written for another tool is in that tool's format, and reads back as the same records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, UnknownNameError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    Prompt,
    PromptTask,
    StepwiseSolution,
)
from rlllm.data.config import DataConfig
from rlllm.data.io.export_files import Written, write
from rlllm.data.io.export_formats import TARGETS, turns
from rlllm.data.load import load
from rlllm.data.record_builders import final_answer

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: text.strip())
ANSWER = TEXT.filter(lambda text: final_answer(text) == text)
CHAT = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "tool"]), "content": TEXT}),
    min_size=1,
    max_size=2,
)
META = st.dictionaries(st.sampled_from(["topic", "level_of_it"]), TEXT, max_size=2)
RECORDS: dict[type, Callable[[st.SearchStrategy[Any]], st.SearchStrategy[Any]]] = {
    PromptTask: lambda prompt: st.builds(PromptTask, prompt, ANSWER | st.none(), META),
    Conversation: lambda prompt: st.builds(Conversation, prompt, TEXT, META),
    PreferencePair: lambda prompt: st.builds(
        PreferencePair, prompt, TEXT, TEXT, st.floats(-5, 5).map(lambda margin: round(margin, 3)) | st.none(), META
    ),
    LabelledCompletion: lambda prompt: st.builds(LabelledCompletion, prompt, TEXT, st.booleans(), META),
}
UNREADABLE = {("llamafactory", LabelledCompletion, "chat")}
"""Conversations with one label for the whole: no record of ours is read from them by a column map."""
CASES = [
    (to, kind, form)
    for to, target in TARGETS.items()
    for kind in RECORDS
    for form in ("text", "chat")
    if kind in target.rows and (to, kind, form) not in UNREADABLE
]


def out_of(to: str, folder: str | Path) -> Path:
    return Path(folder) if TARGETS[to].folder_only else Path(folder) / f"rows{TARGETS[to].suffix}"


def read_back(written: Written, kind: type) -> list[Any]:
    (file,) = [name for name in written.files if "test" not in Path(name).name]
    return load(DataConfig(name=file, columns=written.columns), kind).train


def in_turns(record: Any) -> Any:
    """The record as a format that has only messages carries it."""
    return replace(record, prompt=turns(record.prompt))


def carried(record: Any, name: str) -> Any:
    """A column of the original record, wherever the format put it."""
    return record.meta[name] if name in record.meta else record.meta["extra_info"][name]


@pytest.mark.parametrize(("to", "kind", "form"), CASES)
@settings(max_examples=20)
@given(data=st.data())
def test_records_survive_the_round_trip(to: str, kind: type, form: str, data: st.DataObject) -> None:
    records = data.draw(st.lists(RECORDS[kind](CHAT if form == "chat" else TEXT), min_size=1, max_size=3))
    with TemporaryDirectory() as folder:
        written = write({"train": records}, to, out_of(to, folder), source="made up")
        back = read_back(written, kind)
    chat = TARGETS[to].row_format(kind, to, chat=form == "chat").turns
    expected = [in_turns(record) for record in records] if chat else records
    assert [replace(record, meta={}) for record in back] == [replace(record, meta={}) for record in expected]
    for record, original in zip(back, records, strict=True):
        assert {name: carried(record, name) for name in original.meta} == original.meta


@settings(max_examples=20)
@given(
    st.lists(st.tuples(TEXT, st.lists(st.tuples(TEXT, st.booleans()), min_size=1, max_size=3)), min_size=1, max_size=3)
)
def test_steps_survive_the_round_trip_through_trls_format(rows: list[tuple[str, list[tuple[str, bool]]]]) -> None:
    records = [
        StepwiseSolution(prompt, tuple(step for step, _ in steps), tuple(label for _, label in steps))
        for prompt, steps in rows
    ]
    with TemporaryDirectory() as folder:
        assert (
            read_back(write({"train": records}, "trl", out_of("trl", folder), source="x"), StepwiseSolution) == records
        )


def test_verls_rows_have_verls_columns(tmp_path: Path) -> None:
    from pyarrow import parquet

    tasks = [PromptTask("2 + 2?", "4", {"level": 1}), PromptTask("3 + 3?", "6", {"level": 2, "ability": "math"})]
    write({"train": tasks, "test": tasks[:1]}, "verl", tmp_path, source="sums")
    assert parquet.read_table(tmp_path / "train.parquet").to_pylist()[0] == {
        "data_source": "sums",
        "prompt": [{"role": "user", "content": "2 + 2?"}],
        "ability": "sums",
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"split": "train", "index": 0, "level": 1, "ability": None},
    }
    assert parquet.read_table(tmp_path / "train.parquet").to_pylist()[1]["ability"] == "math"
    assert parquet.read_table(tmp_path / "test.parquet").to_pylist()[0]["extra_info"]["split"] == "test"


OPENRLHF: list[tuple[Any, Mapping[str, Any]]] = [
    (PromptTask("a?", "b"), {"input": "a?", "label": "b"}),
    (Conversation("a?", "b"), {"input": "a?", "output": "b"}),
    (PreferencePair("a?", "b", "c", 0.5), {"prompt": "a?", "chosen": "b", "rejected": "c", "margin": 0.5}),
    (LabelledCompletion("a?", "b", False), {"input": "a?", "output": "b", "label": False}),
]


@pytest.mark.parametrize(("record", "row"), OPENRLHF)
def test_openrlhfs_rows_have_its_keys(record: Any, row: Mapping[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write({"train": [record]}, "openrlhf", file, source="x")
    assert json.loads(file.read_text()) == row


def test_llamafactory_finds_its_files_through_the_index(tmp_path: Path) -> None:
    pair = PreferencePair([{"role": "system", "content": "s"}, {"role": "user", "content": "a?"}], "b", "c")
    write({"train": [pair], "test": [pair]}, "llamafactory", tmp_path, source="dir/pairs.jsonl")
    index = json.loads((tmp_path / "dataset_info.json").read_text())
    assert list(index) == ["pairs", "pairs_test"]
    assert index["pairs"]["file_name"] == "train.json"
    assert index["pairs"]["ranking"] is True
    assert index["pairs"]["formatting"] == "sharegpt"
    assert index["pairs"]["columns"] == {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    (row,) = json.loads((tmp_path / "train.json").read_text())
    assert row == {
        "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "a?"}],
        "chosen": {"from": "gpt", "value": "b"},
        "rejected": {"from": "gpt", "value": "c"},
    }


def test_llamafactorys_labels_stand_in_the_conversation_and_beside_it(tmp_path: Path) -> None:
    record = LabelledCompletion([{"role": "user", "content": "a?"}], "b", True)
    written = write({"train": [record]}, "llamafactory", tmp_path, source="x")
    assert read_back(written, LabelledCompletion) == [record]
    assert written.warnings == []
    (row,) = json.loads((tmp_path / "train.json").read_text())
    assert row["kto_tag"] is True
    assert row["conversations"][-1] == {"from": "gpt", "value": "b"}
    assert json.loads((tmp_path / "dataset_info.json").read_text())["x"]["columns"]["kto_tag"] == "kto_tag"


def test_what_the_format_has_no_place_for_is_said(tmp_path: Path) -> None:
    records = [PreferencePair("a", "b", "c", meta={"margin": "wide", "day": date(2020, 1, 2), "prompt": "a"})]
    written = write({"train": records}, "trl", tmp_path / "rows.jsonl", source="x")
    assert written.warnings == [
        "column margin of 1 rows is left out: the format has a column of that name",
        "values of type date are written as text",
    ]
    assert json.loads((tmp_path / "rows.jsonl").read_text())["day"] == "2020-01-02"


def test_values_of_many_types_become_json_text_in_parquet(tmp_path: Path) -> None:
    tasks = [PromptTask("a", "1", {"note": 1, "empty": {}}), PromptTask("b", "2", {"note": "one", "empty": {}})]
    written = write({"train": tasks}, "verl", tmp_path, source="x")
    back = load(DataConfig(name=next(iter(written.files)), columns=written.columns), PromptTask).train
    assert [record.meta["extra_info"]["note"] for record in back] == ["1", '"one"']
    assert any("extra_info.note is written as JSON text" in warning for warning in written.warnings)


def test_prompts_that_become_turns_are_counted(tmp_path: Path) -> None:
    tasks: list[PromptTask] = [PromptTask(prompt) for prompt in ("a", "b")]
    chat: Prompt = [{"role": "user", "content": "c"}]
    written = write({"train": [*tasks, PromptTask(chat)]}, "verl", tmp_path, source="x")
    assert "2 prompts of plain text became one user turn" in written.warnings
    assert written.columns == {"prompt": "prompt"}


@pytest.mark.parametrize(
    ("to", "out", "record", "message"),
    [
        ("verl", "x.jsonl", PromptTask("a"), "verl reads .parquet files"),
        ("verl", "x.parquet", PreferencePair("a", "b", "c"), "verl has no format for PreferencePair rows"),
        ("llamafactory", "x.json", Conversation("a", "b"), "name a folder"),
        ("llamafactory", "x", PromptTask("a"), "llamafactory has no format for PromptTask rows"),
        ("openrlhf", "x", StepwiseSolution("a", ("b",), (True,)), "openrlhf has no format for StepwiseSolution rows"),
    ],
)
def test_what_a_tool_cannot_read_is_refused(to: str, out: str, record: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        write({"train": [record]}, to, tmp_path / out, source="x")


def test_held_out_rows_need_a_folder_and_files_are_not_replaced(tmp_path: Path) -> None:
    file, splits = tmp_path / "x.jsonl", {"train": [Conversation("a", "b")], "test": [Conversation("c", "d")]}
    with pytest.raises(ConfigError, match="a file of their own"):
        write(splits, "trl", file, source="x")
    write({"train": splits["train"]}, "trl", file, source="x")
    with pytest.raises(ConfigError, match="the file exists"):
        write({"train": splits["train"]}, "trl", file, source="x")
    write({"train": splits["test"]}, "trl", file, source="x", overwrite=True)
    assert json.loads(file.read_text()) == {"prompt": "c", "completion": "d"}
    with pytest.raises(UnknownNameError, match="unknown tool"):
        write(splits, "verll", tmp_path, source="x")


def test_text_without_a_prompt_among_chats_survives_trls_format(tmp_path: Path) -> None:
    records = [Conversation([{"role": "user", "content": "a?"}], "b"), Conversation("", "plain text")]
    written = write({"train": records}, "trl", tmp_path / "rows.jsonl", source="x")
    assert read_back(written, Conversation) == records


def test_llamafactorys_labels_are_read_without_a_map(tmp_path: Path) -> None:
    record = LabelledCompletion("a?", "b", False)
    written = write({"train": [record]}, "llamafactory", tmp_path, source="x")
    back = load(DataConfig(name=next(iter(written.files))), LabelledCompletion).train
    assert [(row.completion, row.label) for row in back] == [("b", False)]


@pytest.mark.parametrize(
    ("to", "trained", "words"),
    [
        ("trl", (1,), ["1 conversations train earlier turns of the assistant too, and the format only the last"]),
        ("trl", (), []),
        ("verl", (), ["1 conversations leave out turns of the assistant that the format trains"]),
        ("llamafactory", (1,), []),
    ],
)
def test_turns_that_a_format_trains_otherwise_are_said(
    tmp_path: Path, to: str, trained: tuple[int, ...], words: list[str]
) -> None:
    dialogue = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
    record = Conversation(dialogue, "b", trained_turns=trained)
    assert write({"train": [record]}, to, tmp_path / "out", source="rows").warnings == words
