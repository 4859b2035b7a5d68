"""A data schema of one's own: one file that is named in the settings. Its errors name the file, the line and the columns."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.load import Loaded, load
from rlllm.data.source_hash import sources_key

QUIZ = [
    {"q": "2 + 2?", "options": {"right": "4", "wrong": "5"}, "id": 1},
    {"q": "3 + 3?", "options": {"right": "6"}, "id": 2},
]
GOOD = """
from rlllm.plugins import PreferencePair, PromptTask, RowError, RowSchema

def pair(row):
    if "wrong" not in row["options"]:
        raise RowError("has no wrong option")
    return [{"prompt": row["q"], "chosen": row["options"]["right"], "rejected": row["options"]["wrong"], "id": row["id"]}]

SCHEMA = RowSchema(
    name="quiz",
    summary="a quiz",
    fits=lambda row: "q" in row and "options" in row,
    needs="q and options",
    columns={PromptTask: {"prompt": "q", "answer": "options.right"}},
    convert={PreferencePair: pair},
)
"""


def read(folder: Path, source: str, kind: type = PromptTask, **settings: str) -> Loaded:
    """The quiz by the schema that stands in `source`."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUIZ))
    (folder / "quiz.py").write_text(dedent(source).lstrip())
    row_schema = f"{folder / 'quiz.py'}:SCHEMA"
    return load(DataConfig(name=str(folder / "rows.jsonl"), row_schema=row_schema, **settings), kind)  # type: ignore[arg-type]


def test_a_file_with_a_schema_reads_rows_as_every_record_type_it_makes(tmp_path: Path) -> None:
    tasks = read(tmp_path, GOOD)
    assert [(task.prompt, task.answer, task.meta["id"]) for task in tasks.train] == [
        ("2 + 2?", "4", 1),
        ("3 + 3?", "6", 2),
    ]
    assert "(schema quiz)" in tasks.source
    pairs = read(tmp_path, GOOD, PreferencePair, on_bad_row="skip")
    assert pairs.train == [PreferencePair("2 + 2?", "4", "5", None, {"id": 1})]
    assert pairs.skipped_examples == ("line 2 of rows.jsonl has no wrong option",)
    labels = read(tmp_path, GOOD, LabelledCompletion, on_bad_row="skip")
    assert [row.label for row in labels.train] == [True, False]


def test_a_type_that_the_schema_does_not_make_is_named_with_those_that_it_makes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data schema quiz makes no Conversation records") as caught:
        read(tmp_path, GOOD, Conversation)
    assert caught.value.exists == ["PromptTask", "PreferencePair"]


KEY_ERRORS: list[tuple[str, str, type, str]] = [
    ('row["options"]["right"]', 'row["choices"]["right"]', PreferencePair, "quiz: convert raised KeyError: 'choices'"),
    ('"q" in row and', 'row["question"] and', PromptTask, "quiz: fits raised KeyError: 'question'"),
]


@pytest.mark.parametrize(("old", "new", "kind", "message"), KEY_ERRORS)
def test_an_exception_names_file_line_and_the_columns_that_exist(
    tmp_path: Path, old: str, new: str, kind: type, message: str
) -> None:
    source = GOOD.replace(old, new)
    line = next(n for n, text in enumerate(source.lstrip().splitlines(), 1) if new in text)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, source, kind)
    assert f"(quiz.py, line {line})" in caught.value.what
    assert caught.value.exists == ["q", "options", "id"]
    assert "line 1 of rows.jsonl" in str(caught.value.given)


WRONG_ROWS = [
    ('return [{"prompt"', 'return {}\n    [{"prompt"', "returned an object, not a list of mappings"),
    ('return [{"prompt"', "return ['x', {\"prompt\"", "returned a list with text, not a list of mappings"),
    ('{"prompt": row["q"], "chosen"', '{"prompt": row["q"], "choosen"', "chosen at line 1 .* is null or absent"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG_ROWS)
def test_a_converted_row_of_another_form_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, GOOD.replace(old, new), PreferencePair)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("SCHEMA = RowSchema(", "SCHEMA = dict(", "it is a dict, not a RowSchema"),
        ('"answer": "options', '"anwser": "options', r"PromptTask has no field anwser \(answer, messages, prompt\)"),
        ("{PreferencePair: pair}", "{int: pair}", "int is no record type"),
        ("summary=", "sumary=", "TypeError: .* unexpected keyword argument 'sumary'"),
    ],
)
def test_a_schema_that_is_none_is_refused_before_rows_are_read(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, GOOD.replace(old, new))


def test_a_misspelt_schema_is_matched_and_a_map_beside_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean gsm8k"):
        read_named(tmp_path, row_schema="gsm8")
    with pytest.raises(ConfigError, match="both say how rows are read"):
        DataConfig.checked({"name": "x.jsonl", "row_schema": "gsm8k", "columns": {"prompt": "q"}})
    with pytest.raises(ConfigError, match="row_schema means nothing for arithmetic"):
        load(DataConfig(name="arithmetic", row_schema="gsm8k"), PromptTask)


def read_named(folder: Path, row_schema: str) -> Loaded:
    (folder / "rows.jsonl").write_text('{"q": "x"}\n')
    return load(DataConfig(name=str(folder / "rows.jsonl"), row_schema=row_schema), PromptTask)


def test_another_schema_file_is_another_source(tmp_path: Path) -> None:
    keys = set()
    for source in (GOOD, GOOD + "\n# changed\n"):
        (tmp_path / "quiz.py").write_text(source)
        (tmp_path / "rows.jsonl").write_text("{}\n")
        config = DataConfig(name=str(tmp_path / "rows.jsonl"), row_schema=f"{tmp_path / 'quiz.py'}:SCHEMA")
        keys.add(sources_key([config], {}))
    assert len(keys) == 2


def test_a_dataset_that_raises_names_its_file_line_and_the_fields_of_the_request(tmp_path: Path) -> None:
    (tmp_path / "rows.py").write_text("def rows(request):\n    return [{'prompt': request.splt}]\n")
    with pytest.raises(DataError, match="AttributeError") as caught:
        load(DataConfig(name=f"{tmp_path / 'rows.py'}:rows"), PromptTask)
    assert "(rows.py, line 2)" in caught.value.what
    assert "split" in caught.value.exists
