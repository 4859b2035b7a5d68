"""Cache of sampled completions on disk: one for the user, and the log of a run that `--resume` continues.

Both hold *blocks*: all completions of a few problems that were drawn together, under a key that names everything the draw
depends on (`sampling.block_key`). What cannot be read, or does not have the shape that was asked for, counts as not there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rlllm.core.user_cache import cache_root


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine wrote for one prompt: all of a `Sample` that is not its task's."""

    text: str
    tokens: int
    truncated: bool
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Columns that the rollout adds to its task's: what an environment said and paid."""


Block = list[list[Completion]]
"""The completions of each problem of a block."""


class _BlockStore(Protocol):
    """Keeps blocks by key."""

    def get(self, key: str) -> Block | None:
        """The block, or None where it is not kept, or cannot be read."""

    def put(self, key: str, block: Block) -> None:
        """Keep a block. Raises OSError where it cannot be written."""


def cache_folder() -> Path:
    """Where completions are kept."""
    return cache_root() / "completions"


@dataclass(frozen=True)
class SampleCache:
    """A file for each block, shared by all runs and processes of a user.

    A file appears under its name complete or not at all. Two processes that draw the same block write the same file.

    Args:
        folder: where; made when the first block is kept.
    """

    folder: Path

    def get(self, key: str) -> Block | None:
        try:
            return _read(json.loads(self._path(key).read_text(encoding="utf-8")), key)
        except (OSError, ValueError):
            return None

    def put(self, key: str, block: Block) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(_written(key, block), file)
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


class CompletionLog:
    """The blocks of one run, a line each, in the order they were drawn: what `--resume` goes on from.

    Only places in the file are held in memory. Of two lines with one key the later counts.

    Args:
        path: of the JSON-lines file; a last line that a kill cut short is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[str, int] = {}
        if path.exists():
            self._index()

    def get(self, key: str) -> Block | None:
        if key not in self.places:
            return None
        with self.path.open("rb") as file:
            file.seek(self.places[key])
            return _read(json.loads(file.readline()), key)

    def put(self, key: str, block: Block) -> None:
        with self.path.open("ab") as file:
            place = file.tell()
            file.write(json.dumps(_written(key, block)).encode() + b"\n")
        self.places[key] = place

    def _index(self) -> None:
        end = 0
        with self.path.open("r+b") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(end)
                    return
                with suppress(ValueError, KeyError, TypeError):  # a damaged line is drawn again
                    self.places[json.loads(line)["key"]] = end
                end += len(line)


@dataclass
class BlockStores:
    """The stores of an evaluation as one, with counts of where completions came from.

    Args:
        log: of the run, looked at first.
        cache: of the user.
        warn: hears that the cache cannot be written, which costs no more than time.
    """

    log: _BlockStore | None = None
    cache: _BlockStore | None = None
    warn: Callable[[str], None] = lambda text: None
    from_cache: int = 0
    """Completions that came from the cache."""
    from_log: int = 0
    """Completions that an earlier start of this run had drawn."""
    sampled: int = 0
    """Completions that were sampled, and kept."""
    seen: set[str] = field(default_factory=set)
    """Keys of blocks that this start of the run has met already, maybe for another task: they count as nothing again."""

    def get(self, key: str, shape: tuple[int, int]) -> Block | None:
        """A kept block of so many problems with so many completions each."""
        block = _fitting(self.log.get(key) if self.log else None, shape)
        if block is not None:
            self.from_log += 0 if key in self.seen else _size(block)
            self.seen.add(key)
            return block
        block = _fitting(self.cache.get(key) if self.cache else None, shape)
        if block is not None:
            self.from_cache += _size(block)
            self._note(key, block)
        return block

    def put(self, key: str, block: Block) -> None:
        """Keep a block that was just drawn."""
        self.sampled += _size(block)
        self._note(key, block)
        if self.cache is None:
            return
        try:
            self.cache.put(key, block)
        except OSError as error:
            self.cache = None
            self.warn(f"the cache of completions cannot be written: {error.strerror}: {error.filename}")

    def _note(self, key: str, block: Block) -> None:
        self.seen.add(key)
        if self.log:
            self.log.put(key, block)


def _size(block: Block) -> int:
    return sum(map(len, block))


def _fitting(block: Block | None, shape: tuple[int, int]) -> Block | None:
    problems, samples = shape
    if block is None or len(block) != problems or any(len(row) != samples for row in block):
        return None
    return block


def _written(key: str, block: Block) -> dict[str, Any]:
    return {"key": key, "completions": [[_fields(completion) for completion in row] for row in block]}


def _fields(completion: Completion) -> dict[str, Any]:
    """Columns only where there are some: blocks of one turn stay as small as they were."""
    one_turn = {"text": completion.text, "tokens": completion.tokens, "truncated": completion.truncated}
    return {**one_turn, "columns": dict(completion.columns)} if completion.columns else one_turn


def _read(value: Any, key: str) -> Block | None:
    try:
        if value["key"] != key:
            return None
        block = [[Completion(**completion) for completion in row] for row in value["completions"]]
    except (KeyError, TypeError):
        return None
    kinds = {
        (type(completion.text), type(completion.tokens), type(completion.truncated), type(completion.columns))
        for row in block
        for completion in row
    }
    return block if kinds <= {(str, int, bool, dict)} else None
