"""Records one at a time: the same as `load` gives, in the source's order, in memory that does not grow with the file."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.load import load
from rlllm.data.sources import HubSource
from rlllm.data.stream import stream

ROWS = [{"prompt": f"question {n} " + "x" * 1000, "answer": str(n)} for n in range(6000)]
"""Six megabytes of text."""


def _jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def _gzip(path: Path) -> None:
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.writelines(json.dumps(row) + "\n" for row in ROWS)


def _csv(path: Path) -> None:
    path.write_text("prompt,answer\n" + "".join(f"{row['prompt']},{row['answer']}\n" for row in ROWS))


def _parquet(path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=1000)


def _arrow(path: Path) -> None:
    import pyarrow

    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.jsonl", _jsonl),
        ("rows.json", _jsonl),
        ("rows.jsonl.gz", _gzip),
        ("rows.csv", _csv),
        ("rows.parquet", _parquet),
        ("rows.arrow", _arrow),
    ],
)
def test_a_file_is_read_in_constant_memory(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    config = DataConfig(name=str(tmp_path / name))
    first = next(stream(config, PromptTask))
    tracemalloc.start()
    try:
        count = sum(1 for _ in stream(config, PromptTask))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (count, first.meta, first.prompt) == (len(ROWS), {}, ROWS[0]["prompt"])
    assert peak < 4_000_000


def test_the_records_are_those_of_load_before_the_split(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"p{n}", "answer": str(n)}) + "\n" for n in range(20)))
    config = DataConfig(name=str(path), holdout=5)
    data = load(config, PromptTask)
    assert list(stream(config, PromptTask)) == load(DataConfig(name=str(path)), PromptTask).train
    assert {task.prompt for task in stream(config, PromptTask)} == {t.prompt for t in [*data.train, *data.holdout]}
    assert list(stream(DataConfig(name=str(path), rows=3), PromptTask)) == list(stream(config, PromptTask))[:3]


def test_pairs_and_labels_are_converted_as_in_load(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    config = DataConfig(name=str(path))
    assert list(stream(config, LabelledCompletion)) == load(config, LabelledCompletion).train


@pytest.mark.parametrize("kind", [PromptTask, Conversation, PreferencePair])
def test_a_procedural_source_gives_its_training_rows_and_a_holdout_that_was_asked_for(kind: type[Any]) -> None:
    config = DataConfig(name="arithmetic", rows=12)
    assert list(stream(config, kind)) == load(config.model_copy(update={"holdout": 0}), kind).train
    both = DataConfig(name="arithmetic", rows=12, holdout=4)
    assert len(list(stream(both, kind))) == 16


def test_errors_are_those_of_load(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "p"}\n{"prompt": 3}\n')
    with pytest.raises(DataError, match="at line 2"):
        list(stream(DataConfig(name=str(path)), PromptTask))
    with pytest.raises(ConfigError, match=r"data\.level"):
        list(stream(DataConfig(name=str(path), level=2), PromptTask))
    path.write_text("")
    with pytest.raises(DataError, match="empty"):
        list(stream(DataConfig(name=str(path)), PromptTask))


def test_a_stream_that_is_left_early_closes_its_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "p"}\n' * 500)
    records = stream(DataConfig(name=str(path)), PromptTask)
    assert len(list(islice(records, 3))) == 3
    records.close()  # type: ignore[attr-defined]
    path.unlink()


def test_a_streamed_hub_data_set_needs_a_number_of_rows() -> None:
    config = DataConfig(name="org/name", streaming=True)
    with pytest.raises(ConfigError, match="needs a number of rows") as caught:
        load(config, PromptTask)
    assert str(caught.value.hint) == "say how many to take: org/name#10000"


def test_a_hub_data_set_is_streamed_no_further_than_its_rows_are_taken(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"prompt": f"p{n}"}) + "\n" for n in range(200)))
    source = HubSource(str(tmp_path))
    config = DataConfig(name="org/name", rows=2, streaming=True)
    rows = source.rows(config, BadRows())
    assert [placed.row["prompt"] for placed in islice(rows, 3)] == ["p0", "p1", "p2"]


@pytest.mark.parametrize("name", ["rows.jsonl", "arithmetic"])
def test_only_the_hub_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p"}\n')
    with pytest.raises(ConfigError, match=r"data\.streaming means nothing"):
        load(DataConfig(name=name, rows=1, streaming=True), PromptTask)
