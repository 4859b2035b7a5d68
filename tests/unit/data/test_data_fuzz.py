"""Whatever bytes or rows a file holds: records, or an error of ours; never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import RlllmError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
)
from rlllm.data.columns import ALIASES
from rlllm.data.config import DataConfig
from rlllm.data.inspect.summary import check
from rlllm.data.io.files import READERS
from rlllm.data.load import Loaded, load

KINDS = st.sampled_from([PromptTask, Conversation, PreferencePair, LabelledCompletion, StepwiseSolution])
COLUMNS = st.sampled_from(sorted({part for names in ALIASES.values() for name in names for part in name.split("+")}))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "wizard"]), "content": SCALARS},
        optional={"x": SCALARS},
    ),
    max_size=3,
)
VALUES = SCALARS | MESSAGES | st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(COLUMNS, inner))
ROWS = st.lists(st.dictionaries(COLUMNS, VALUES, max_size=5), max_size=4)


def load_or_refuse(path: Path, kind: type[Record], **config: Any) -> None:
    outcome: Loaded | RlllmError
    try:
        outcome = load(DataConfig(name=str(path), **config), kind)
    except RlllmError as error:
        outcome = error
    if isinstance(outcome, RlllmError):
        assert outcome.exit_code == 2
        return
    assert all(isinstance(record, kind) for record in outcome.train)
    assert check(outcome).lines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(deadline=None, max_examples=150)
@given(suffix=st.sampled_from(sorted(READERS)), content=st.binary(max_size=200), kind=KINDS)
def test_any_bytes_load_or_are_refused(folder: Path, suffix: str, content: bytes, kind: type[Record]) -> None:
    path = folder / f"bytes{suffix}"
    path.write_bytes(content)
    load_or_refuse(path, kind)


@settings(deadline=None, max_examples=300)
@given(rows=ROWS, kind=KINDS, holdout=st.integers(0, 2), columns=st.dictionaries(COLUMNS, COLUMNS, max_size=2))
def test_any_rows_load_or_are_refused(
    folder: Path, rows: list[dict[str, Any]], kind: type[Record], holdout: int, columns: dict[str, str]
) -> None:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    load_or_refuse(path, kind, holdout=holdout, columns=columns)


@settings(deadline=None, max_examples=150)
@given(rows=ROWS, cut=st.integers(0, 400), junk=st.text(max_size=5), kind=KINDS)
def test_a_file_cut_anywhere_loads_or_is_refused(
    folder: Path, rows: list[dict[str, Any]], cut: int, junk: str, kind: type[Record]
) -> None:
    text = json.dumps(rows)
    for name, content in (("cut.json", text), ("cut.jsonl", text[1:-1].replace("}, {", "}\n{")), ("cut.csv", text)):
        path = folder / name
        path.write_text(content[:cut] + junk + content[cut + 1 :], encoding="utf-8")
        load_or_refuse(path, kind)


@settings(deadline=None, max_examples=60)
@given(position=st.integers(0, 600), byte=st.integers(0, 255))
def test_a_damaged_parquet_file_loads_or_is_refused(folder: Path, position: int, byte: int) -> None:
    import pyarrow
    from pyarrow import parquet

    path = folder / "damaged.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"prompt": "p", "answer": "a"}] * 3), path)
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content)
    load_or_refuse(path, PromptTask)
