"""Rows that do not fit: the first one ends the reading with a map to try, or each is counted and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, LabelledCompletion, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.load import load
from rlllm.data.stream import stream

GOOD = [{"prompt": f"p{n}", "answer": str(n)} for n in range(6)]


def write(path: Path, lines: list[str]) -> str:
    path.write_bytes(b"".join(line.encode("utf-8", "surrogateescape") + b"\n" for line in lines))
    return str(path)


def lines_of(rows: list[Any]) -> list[str]:
    return [json.dumps(row) for row in rows]


BAD_LINES = [
    ('{"prompt": "p", ', "broken JSON at line 4"),
    ('{"prompt": "\udcff"}', "line 4 of rows.jsonl is not UTF-8 text"),
    ("[1, 2]", "line 4 of rows.jsonl is a list, not an object"),
    ('{"prompt": "a", "prompt": "b"}', "the key 'prompt' stands twice in one object"),
    ('{"prompt": "\\ud800"}', "half a character stands alone"),
    ('{"prompt": "a", "x": ' + "[" * 200 + "]" * 200 + "}", "nested more than 100 deep"),
    ('{"prompt": "a", "x": ' + "[" * 99_999 + "}", "RecursionError"),
    ('{"prompt": "a", "answer": 1e999}', "answer at line 4 of rows.jsonl must be a finite number or text"),
    ('{"prompt": null}', "prompt at line 4 of rows.jsonl is null or absent"),
    ('{"prompt": ["a"]}', "prompt at line 4 of rows.jsonl must be text or a list of messages"),
    ('{"answer": "a"}', "prompt at line 4 of rows.jsonl is null or absent"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_line_ends_the_reading_or_is_counted_with_its_place_and_reason(
    tmp_path: Path, line: str, reason: str
) -> None:
    good = lines_of(GOOD)
    name = write(tmp_path / "rows.jsonl", [*good[:3], line, *good[3:]])
    with pytest.raises(DataError) as caught:
        load(DataConfig(name=name), PromptTask)
    assert reason in str(caught.value)
    data = load(DataConfig(name=name, on_bad_row="skip"), PromptTask)
    assert [task.prompt for task in data.train] == [row["prompt"] for row in GOOD]
    assert (data.skipped, data.skipped_examples) == (1, (caught.value.what,))
    assert data.source.endswith("rows.jsonl: 6 training rows, 1 bad rows skipped")


TABLE = ["prompt,answer", "a,1", "b,2", "c,3"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x", "line 5 of rows.csv has 1 cells, the header has 2"),
        ("x,\udcff", "line 5 of rows.csv is not UTF-8 text"),
        (" ,4", "prompt at line 5 of rows.csv is empty"),
    ],
)
def test_a_bad_line_of_a_table_is_counted(tmp_path: Path, line: str, reason: str) -> None:
    name = write(tmp_path / "rows.csv", [*TABLE, line, "d,4"])
    data = load(DataConfig(name=name, on_bad_row="skip"), PromptTask)
    assert [task.prompt for task in data.train] == ["a", "b", "c", "d"]
    assert data.skipped_examples == (reason,)


def test_open_quotes_refuse_the_file_because_nobody_knows_which_rows_they_swallow(tmp_path: Path) -> None:
    name = write(tmp_path / "rows.csv", [*TABLE, '"x,4', *(f"{n},{n}" for n in range(50))])
    with pytest.raises(DataError, match="broken CSV"):
        load(DataConfig(name=name, on_bad_row="skip"), PromptTask)


def test_a_value_that_does_not_fit_suggests_another_column_and_the_policy(tmp_path: Path) -> None:
    name = write(tmp_path / "rows.jsonl", lines_of([{"question": ["x"], "title": "What?", "answer": "a"}]))
    with pytest.raises(DataError) as caught:
        load(DataConfig(name=name), PromptTask)
    assert caught.value.hint == (
        "if another column is meant: --columns prompt=title; or count and leave out such rows: data.on_bad_row=skip"
    )
    assert load(DataConfig(name=name, columns={"prompt": "title"}), PromptTask).train[0].prompt == "What?"


@pytest.mark.parametrize(("bad", "refused"), [(5, False), (6, False), (7, True), (60, True)])
def test_more_bad_rows_than_good_ones_are_refused_with_the_first(tmp_path: Path, bad: int, refused: bool) -> None:
    name = write(tmp_path / "rows.jsonl", lines_of([*GOOD, *([{"prompt": None}] * bad)]))
    config = DataConfig(name=name, on_bad_row="skip")
    if not refused:
        assert load(config, PromptTask).skipped == bad
        return
    with pytest.raises(DataError, match=f"{bad} of {bad + 6} rows do not fit; the first: prompt at line 7"):
        load(config, PromptTask)


def test_a_file_of_bad_rows_only_shows_the_first_of_them(tmp_path: Path) -> None:
    name = write(tmp_path / "rows.jsonl", ["oops", "{"])
    with pytest.raises(DataError, match="2 of 2 rows do not fit; the first: broken JSON at line 1"):
        load(DataConfig(name=name, on_bad_row="skip"), PromptTask)


def test_all_are_counted_and_the_first_twenty_are_kept(tmp_path: Path) -> None:
    rows = [{"prompt": None if n % 2 else f"p{n}"} for n in range(100)]
    name = write(tmp_path / "rows.jsonl", lines_of(rows))
    bad = BadRows("skip")
    assert len(list(stream(DataConfig(name=name), PromptTask, bad))) == 50
    assert (bad.good, bad.count, len(bad.examples)) == (50, 50, 20)
    assert bad.examples[0].startswith("prompt at line 2 of rows.jsonl")


def test_rows_that_a_function_makes_are_skipped_too(tmp_path: Path) -> None:
    script = tmp_path / "rows.py"
    script.write_text(
        "def make(request):\n"
        "    start = 0 if request.split == 'train' else 100\n"
        "    return [{'prompt': f'p{start + n}' if n % 3 else None} for n in range(request.rows)]\n"
    )
    data = load(DataConfig(name=f"{script}:make", rows=9, holdout=6, on_bad_row="skip"), PromptTask)
    assert (len(data.train), len(data.holdout), data.skipped) == (6, 4, 5)


def test_a_limit_counts_good_rows_and_the_holdout_ignores_bad_ones(tmp_path: Path) -> None:
    name = write(tmp_path / "rows.jsonl", ["oops", *lines_of(GOOD)])
    first = load(DataConfig(name=name, rows=3, on_bad_row="skip"), PromptTask)
    assert [task.prompt for task in first.train] == ["p0", "p1", "p2"]
    whole = load(DataConfig(name=name, holdout=2, on_bad_row="skip"), PromptTask)
    assert (len(whole.train), len(whole.holdout), whole.skipped) == (4, 2, 1)


def test_pairs_that_are_read_as_labels_are_counted_before_they_are_converted(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}] * 3
    name = write(tmp_path / "rows.jsonl", [*lines_of(rows), "oops"])
    data = load(DataConfig(name=name, on_bad_row="skip"), LabelledCompletion)
    assert (len(data.train), data.skipped) == (6, 1)


def test_the_schema_is_found_among_bad_rows(tmp_path: Path) -> None:
    rows: list[Any] = [{"question": "q", "answer": f"#### {n}"} for n in range(3)]
    name = write(tmp_path / "rows.jsonl", ["oops", *lines_of([7, *rows, {"question": "q"}])])
    data = load(DataConfig(name=name, on_bad_row="skip"), PromptTask)
    assert ([task.answer for task in data.train], data.skipped) == (["0", "1", "2"], 3)
    assert "(schema gsm8k)" in data.source


def test_a_row_makes_all_of_its_records_or_none(tmp_path: Path) -> None:
    row = {"question": "q", "final_answer": "1", "r1_solution_1": "a", "r1_solution_2": "b"}
    name = write(tmp_path / "rows.jsonl", lines_of([row, {**row, "question": " "}]))
    data = load(DataConfig(name=name, on_bad_row="skip"), Conversation)
    assert ([record.completion for record in data.train], data.skipped) == (["a", "b"], 1)
