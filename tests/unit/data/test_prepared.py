"""A prepared folder gives back the records that were written, holds out what it held out, and says when it is broken."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
)
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.prepare.folder import (
    FILES,
    MANIFEST,
    Manifest,
    content_hash,
    line_of,
    read_manifest,
    record_of,
    records,
    write_manifest,
)
from rlllm.data.stream import stream

PAIRS = [PreferencePair(f"p{number}", "good", "bad", 0.5, {"source": "x", "n": number}) for number in range(5)]


def prepared(folder: Path, train: Sequence[Record], holdout: Sequence[Record] = ()) -> Manifest:
    folder.mkdir()
    for name, rows in ((FILES["train"], train), (FILES["holdout"], holdout)):
        if rows:
            (folder / name).write_text("".join(line_of(row) + "\n" for row in rows), encoding="utf-8")
    kind = type(train[0]).__name__
    manifest = Manifest(kind, content_hash(folder), "", len(train), len(holdout), [], {})
    write_manifest(folder, manifest)
    return manifest


@pytest.mark.parametrize(
    "record",
    [
        PromptTask("2 + 2 =", None, {"solution": "4", "nested": {"a": [1, None]}}),
        PromptTask([{"role": "user", "content": "line\u2028break"}], "#### 4", {"answer": "long #### 4", "meta": 1}),
        Conversation("", "text only"),
        PreferencePair("p", "a", "", None, {"prompt": "another"}),
        LabelledCompletion("p", "c", False),
        StepwiseSolution("p", ("a", "b"), (True, False)),
    ],
    ids=lambda record: type(record).__name__,
)
def test_every_record_comes_back_as_it_was(record: Record, tmp_path: Path) -> None:
    assert record_of(line_of(record), type(record)) == record
    manifest = prepared(tmp_path / "data", [record, record])
    assert list(records(tmp_path / "data", manifest, "train")) == [record, record]
    config = DataConfig(name=str(tmp_path / "data"))
    assert list(stream(config, type(record))) == [record, record]
    assert load(config, type(record)).train == [record, record]


@given(
    st.text(),
    st.text(min_size=1),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none(), max_size=3),
)
def test_any_text_survives_a_line(prompt: str, completion: str, meta: dict[str, object]) -> None:
    record = Conversation(prompt, completion, meta)
    line = line_of(record)
    assert "\n" not in line
    assert record_of(line, Conversation) == record


def test_what_json_lacks_becomes_null() -> None:
    record = PromptTask("p", None, {"gap": math.nan, "list": [math.inf, 1.5]})
    assert record_of(line_of(record), PromptTask).meta == {"gap": None, "list": [None, 1.5]}


def test_load_gives_both_parts_and_limits_each(tmp_path: Path) -> None:
    manifest = prepared(tmp_path / "pairs", PAIRS[:3], PAIRS[3:])
    name = str(tmp_path / "pairs")
    loaded = load(DataConfig(name=name), PreferencePair)
    assert (loaded.train, loaded.holdout) == (PAIRS[:3], PAIRS[3:])
    assert manifest.hash in loaded.source
    limited = load(DataConfig(name=name, rows=2, holdout=1), PreferencePair)
    assert (len(limited.train), len(limited.holdout)) == (2, 1)
    assert list(stream(DataConfig(name=name, split="holdout"), PreferencePair)) == PAIRS[3:]
    with pytest.raises(DataError, match="holds out 2 rows, not 3"):
        load(DataConfig(name=name, holdout=3), PreferencePair)
    with pytest.raises(DataError, match="no split test"):
        load(DataConfig(name=name, split="test"), PreferencePair)


def test_pairs_that_were_prepared_are_read_as_labels_and_as_prompts(tmp_path: Path) -> None:
    prepared(tmp_path / "pairs", PAIRS[:3], PAIRS[3:])
    labelled = load(DataConfig(name=str(tmp_path / "pairs")), LabelledCompletion)
    assert (len(labelled.train), len(labelled.holdout)) == (6, 4)
    tasks = load(DataConfig(name=str(tmp_path / "pairs")), PromptTask)
    assert [task.prompt for task in tasks.train] == ["p0", "p1", "p2"]


def test_a_folder_without_a_manifest_is_no_prepared_one(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"format": 2}', '{"format": 1, "sources": [{}]}', '{"format": 1, "sources": 3}']
)
def test_a_broken_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"prepared\.json"):
        read_manifest(tmp_path)


def test_an_unknown_record_type_is_named(tmp_path: Path) -> None:
    prepared(tmp_path / "data", PAIRS)
    manifest = json.loads((tmp_path / "data" / MANIFEST).read_text())
    (tmp_path / "data" / MANIFEST).write_text(json.dumps({**manifest, "kind": "Poem"}))
    with pytest.raises(DataError, match="an unknown record type: Poem"):
        read_manifest(tmp_path / "data")


@pytest.mark.parametrize(
    "line", ["{", '{"prompt": "p"}', "[]", '{"prompt": "p", "chosen": "a", "rejected": "b", "new": 1}']
)
def test_a_changed_line_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    manifest = prepared(tmp_path / "data", PAIRS)
    with (tmp_path / "data" / FILES["train"]).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"line 6 of train\.jsonl"):
        list(records(tmp_path / "data", manifest, "train"))
    with pytest.raises((DataError, ConfigError)):
        load(DataConfig(name=str(tmp_path / "data")), PreferencePair)


def test_the_content_hash_is_of_the_rows_alone(tmp_path: Path) -> None:
    first = prepared(tmp_path / "one", PAIRS[:3], PAIRS[3:])
    assert prepared(tmp_path / "two", PAIRS[:3], PAIRS[3:]).hash == first.hash
    assert prepared(tmp_path / "three", PAIRS[:4], PAIRS[4:]).hash != first.hash
    (tmp_path / "one" / "card.md").write_text("a word")
    assert content_hash(tmp_path / "one") == first.hash
