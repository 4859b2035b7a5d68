"""Raw text as data: documents are kept apart, held out whole, and read as positions whose parts make up the text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, RlllmError
from rlllm.core.records import Conversation, PreferencePair, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.corpus.documents import Document, blocks, documents, split_documents
from rlllm.data.corpus.positions import BOUNDARIES, word_ends
from rlllm.data.corpus.text import text
from rlllm.data.load import load
from rlllm.data.request import DataRequest

WORDS = " ".join(f"word{number}" for number in range(60))


def _folder(path: Path, count: int) -> Path:
    for number in range(count):
        (path / f"{number:03}.txt").write_text(f"document {number}: {WORDS} end of {number}\n", encoding="utf-8")
    return path


def _load(path: Path | str, kind: type = PromptTask, rows: int = 500, **params: object) -> tuple[list, list]:
    loaded = load(DataConfig(name=f"text:{path}", rows=rows, holdout=rows, params=params), kind)
    return loaded.train, loaded.holdout


def test_every_kind_of_source_gives_its_documents(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    (tmp_path / "one.txt").write_text("\ufeffhéllo 日本", encoding="utf-8")
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(b"packed text"))
    (tmp_path / "rows.jsonl").write_text('{"content": "a b"}\n{"content": " "}\n{"content": "c d"}\n', encoding="utf-8")
    parquet.write_table(pyarrow.table({"text": ["p q", "r s"]}), tmp_path / "rows.parquet")
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "b.md").write_text("second", encoding="utf-8")
    (folder / "below" / "c.rst").write_text("third", encoding="utf-8")
    (folder / "a.py").write_text("first", encoding="utf-8")
    (folder / "image.png").write_bytes(b"\x89PNG\0\0")
    (folder / ".hidden").write_text("no", encoding="utf-8")
    (folder / "below" / "table.json").write_text("[]", encoding="utf-8")
    assert [d.text for d in documents(str(tmp_path / "one.txt"))] == ["héllo 日本"]
    assert [d.text for d in documents(str(tmp_path / "packed.txt.gz"))] == ["packed text"]
    assert [d.text for d in documents(str(tmp_path / "rows.jsonl"))] == ["a b", "c d"]
    assert [d.text for d in documents(str(tmp_path / "rows.parquet"))] == ["p q", "r s"]
    assert [(d.name, d.text) for d in documents(str(folder))] == [
        ("a.py", "first"),
        ("b.md", "second"),
        ("below/c.rst", "third"),
    ]
    assert any("any text as positions" in document.text for document in documents("rlllm"))


BAD = [
    ("missing.txt", None, "no such data file"),
    ("latin.txt", None, "the file is no UTF-8 text"),
    ("empty", None, "the folder holds no text files"),
    ("rows.jsonl", None, "the rows have no column text or content"),
    ("rows.jsonl", "other", "the rows have no column other"),
    ("rows.jsonl", "number", "the column number holds no text"),
]


@pytest.mark.parametrize(("name", "column", "said"), BAD)
def test_what_cannot_be_read_is_refused_by_name(name: str, column: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"number": 3, "question": "why"}) + "\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RlllmError, match=said):
        list(documents(str(tmp_path / name), column))


@pytest.mark.parametrize("count", [1, 3, 12, 150])
def test_no_text_is_in_both_splits_and_both_have_some(count: int, tmp_path: Path) -> None:
    _folder(tmp_path, count)
    every = list(documents(str(tmp_path)))
    parts = {split: [d.text for d in split_documents(every, split, 0.1, 200)] for split in ("train", "holdout")}
    assert parts["train"]
    assert parts["holdout"]
    assert set(parts["train"]).isdisjoint(parts["holdout"])
    assert sorted("".join(parts["train"] + parts["holdout"])) == sorted("".join(d.text for d in every))


def test_what_is_held_out_does_not_depend_on_the_order_or_the_seed(tmp_path: Path) -> None:
    every = list(documents(str(_folder(tmp_path, 30))))
    there, back = (
        {d.text for d in split_documents(order, "holdout", 0.2, 200)} for order in (every, list(reversed(every)))
    )
    assert there == back
    assert len(there) == 6
    held = {
        row.meta["document"]
        for seed in (0, 7)
        for row in text(
            DataRequest(split="holdout", rows=999, seed=seed, params={"path": str(tmp_path), "held_out": 0.2})
        )
    }
    assert len(held) == 6


def test_a_position_is_a_part_of_one_document(tmp_path: Path) -> None:
    train, holdout = _load(_folder(tmp_path, 20), continuation=3)
    texts = {document.name: document.text for document in documents(str(tmp_path))}
    assert len(train) > 100
    for row in (*train, *holdout):
        place, whole = row.meta["place"], texts[row.meta["document"]]
        assert whole[:place].endswith(row.prompt)
        assert whole[place:].startswith(row.answer)
        assert row.meta[BOUNDARIES][-1] == len(row.answer)
        assert len(row.meta[BOUNDARIES]) <= 3
        assert 8 <= len(row.prompt.split()) <= 64


def test_as_conversations_the_same_positions_are_imitated(tmp_path: Path) -> None:
    _folder(tmp_path, 20)
    tasks, _ = _load(tmp_path)
    chats, _ = _load(tmp_path, Conversation)
    assert [(row.prompt, row.completion) for row in chats] == [(row.prompt, row.answer) for row in tasks]


def test_positions_of_a_document_are_drawn_by_the_seed_and_are_bounded(tmp_path: Path) -> None:
    _folder(tmp_path, 12)
    rows = {
        seed: load(DataConfig(name=f"text:{tmp_path}", seed=seed, params={"per_document": 5}), PromptTask).train
        for seed in (0, 1)
    }
    assert len(rows[0]) == len(rows[1]) == 55
    assert [row.prompt for row in rows[0]] != [row.prompt for row in rows[1]]


@given(st.text(min_size=1, max_size=400), st.integers(1, 50))
def test_blocks_make_up_the_document(content: str, size: int) -> None:
    parts = [part.text for part in blocks(Document("d", content), size)]
    assert "".join(parts) == content
    assert all(len(part) <= 2 * size for part in parts)


@given(st.text(max_size=200))
def test_words_end_in_order_and_leave_out_white_space_at_the_end_alone(content: str) -> None:
    ends = word_ends(content)
    assert ends == sorted(set(ends))
    assert content[ends[-1] if ends else 0 :].strip() == ""


def test_settings_that_fit_no_text_are_refused(tmp_path: Path) -> None:
    _folder(tmp_path, 2)
    with pytest.raises(ConfigError, match="text needs a file"):
        load(DataConfig(name="text"), PromptTask)
    with pytest.raises(ConfigError, match="a text has no levels"):
        load(DataConfig(name=f"text:{tmp_path}", level=2), PromptTask)
    with pytest.raises(ConfigError, match="at least as many tokens as it shows at most"):
        _load(tmp_path, context=4)
    with pytest.raises(RlllmError, match="text cannot make PreferencePair rows"):
        _load(tmp_path, PreferencePair)
