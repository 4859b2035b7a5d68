"""The cache of completions and the log of a run: what is kept comes back, and what is damaged counts as not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.evals.sample_cache import Block, BlockStores, Completion, CompletionLog, SampleCache, cache_folder

KEY, OTHER = "ab" * 32, "cd" * 32
BLOCK = [[Completion("4 \ud83d half an emoji, 日本", 3, False), Completion("", 0, True)]]
completions = st.builds(Completion, st.text(), st.integers(0, 9), st.booleans())


@given(st.lists(st.lists(completions, max_size=3), max_size=3))
def test_a_block_comes_back_as_it_was_kept(tmp_path_factory: pytest.TempPathFactory, block: Block) -> None:
    folder = tmp_path_factory.mktemp("kept")
    for store in (SampleCache(folder / "cache"), CompletionLog(folder / "log.jsonl")):
        store.put(KEY, block)
        assert store.get(KEY) == block
        assert store.get(OTHER) is None
    assert CompletionLog(folder / "log.jsonl").get(KEY) == block


def test_half_an_emoji_is_kept(tmp_path: Path) -> None:
    for store in (SampleCache(tmp_path), CompletionLog(tmp_path / "log.jsonl")):
        store.put(KEY, BLOCK)
        assert store.get(KEY) == BLOCK


DAMAGED = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    json.dumps({"key": OTHER, "completions": []}).encode(),
    json.dumps({"key": KEY}).encode(),
    json.dumps({"key": KEY, "completions": [1]}).encode(),
    json.dumps({"key": KEY, "completions": [["text"]]}).encode(),
    json.dumps({"key": KEY, "completions": [[{"text": "x"}]]}).encode(),
    json.dumps({"key": KEY, "completions": [[{"text": 1, "tokens": 1, "truncated": False}]]}).encode(),
    json.dumps({"key": KEY, "completions": [[{"text": "x", "tokens": "1", "truncated": False}]]}).encode(),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_entry_is_not_there_and_can_be_written_again(tmp_path: Path, content: bytes) -> None:
    cache = SampleCache(tmp_path)
    cache.put(KEY, BLOCK)
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(content)
    assert cache.get(KEY) is None
    cache.put(KEY, BLOCK)
    assert cache.get(KEY) == BLOCK


@pytest.mark.parametrize("content", [line for line in DAMAGED if b"\n" not in line])
def test_a_damaged_line_of_the_log_is_not_there_and_those_around_it_are(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.jsonl"
    CompletionLog(path).put(OTHER, BLOCK)
    with path.open("ab") as file:
        file.write(content + b"\n")
    log = CompletionLog(path)
    assert log.get(KEY) is None
    log.put(KEY, BLOCK)
    assert CompletionLog(path).get(KEY) == BLOCK
    if OTHER.encode() not in content:
        assert CompletionLog(path).get(OTHER) == BLOCK


@given(st.integers(0, 400))
def test_a_log_cut_anywhere_keeps_its_whole_lines_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "log.jsonl"
    log = CompletionLog(path)
    for key in (KEY, OTHER):
        log.put(key, BLOCK)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole))])
    lines = path.read_bytes().count(b"\n")
    log = CompletionLog(path)
    assert [log.get(key) for key in (KEY, OTHER)][:lines] == [BLOCK] * lines
    log.put("ef" * 32, BLOCK)
    assert len(CompletionLog(path).places) == lines + 1


def test_no_partial_file_is_left_behind(tmp_path: Path) -> None:
    SampleCache(tmp_path).put(KEY, BLOCK)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{KEY}.json"]


WRITER = """
import sys
from pathlib import Path
from rlllm.evals.sample_cache import SampleCache, Completion
cache, block = SampleCache(Path(sys.argv[1])), [[Completion("x" * 5000, 1, False)]]
for _ in range(100):
    cache.put(sys.argv[2], block)
    assert cache.get(sys.argv[2]) == block
"""


def test_two_processes_that_write_one_entry_never_show_half_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), KEY]
    writers = [subprocess.Popen(command) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (1, 1), (1, 3), (0, 0)])
def test_a_block_of_another_shape_is_not_taken(tmp_path: Path, shape: tuple[int, int]) -> None:
    stores = BlockStores(cache=SampleCache(tmp_path))
    stores.put(KEY, BLOCK)
    assert (BlockStores(cache=SampleCache(tmp_path)).get(KEY, shape) == BLOCK) == (shape == (1, 2))


def test_completions_are_counted_by_where_they_came_from(tmp_path: Path) -> None:
    log, cache = tmp_path / "log.jsonl", SampleCache(tmp_path / "cache")
    first = BlockStores(CompletionLog(log), cache)
    assert first.get(KEY, (1, 2)) is None
    first.put(KEY, BLOCK)
    assert first.get(KEY, (1, 2)) == BLOCK
    assert (first.sampled, first.from_cache, first.from_log) == (2, 0, 0)
    again = BlockStores(CompletionLog(log), cache)
    for _ in range(2):
        again.get(KEY, (1, 2))
    assert (again.sampled, again.from_cache, again.from_log) == (0, 0, 2)
    elsewhere = BlockStores(CompletionLog(tmp_path / "other.jsonl"), cache)
    for _ in range(2):
        elsewhere.get(KEY, (1, 2))
    assert (elsewhere.sampled, elsewhere.from_cache, elsewhere.from_log) == (0, 2, 0)


def test_a_cache_that_cannot_be_written_is_said_once_and_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    stores = BlockStores(cache=SampleCache(tmp_path / "file"), warn=said.append)
    for key in (KEY, OTHER):
        stores.put(key, BLOCK)
    assert len(said) == 1
    assert said[0].startswith("the cache of completions cannot be written: ")


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RLLLM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "completions"
    monkeypatch.delenv("RLLLM_CACHE")
    assert cache_folder() == Path(os.path.expanduser("~/.cache/rlllm/completions"))
