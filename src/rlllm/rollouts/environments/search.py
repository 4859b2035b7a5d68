"""The `search` environment: full-text search over documents on this machine (SQLite FTS5, ranked by BM25)."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, describe
from rlllm.data.procedural.gazetteer import Document, gazetteer

_TEXTS = (".md", ".txt")
_NOTHING = "nothing found"


class Search:
    """Two tools over a corpus. It judges nothing: take a reward that reads the answer, such as `exact`.

    Args:
        corpus: a JSON-lines file with `title` and `text`, or a folder of .md and .txt files; empty takes the documents that
            the data set `search` asks about.
        results: documents that a search finds at most.
        length: characters of each document that a search shows; `read` shows all of it.
    """

    def __init__(self, corpus: str = "", results: int = 3, length: int = 200) -> None:
        if results < 1 or length < 1:
            raise ConfigError(
                "search shows one result or more, of one character or more", given=f"results={results} length={length}"
            )
        self._index, self._results, self._length = _index(corpus), results, length

    def reset(self, **row: Any) -> None:
        """Nothing is left from the rollout before."""

    def search(self, query: str) -> str:
        """Search the documents.

        Args:
            query: Words to look for.

        Returns:
            Titles and beginnings of the documents that fit best, a line each.
        """
        found = self._index.find(query, self._results)
        return "\n".join(str(_shortened(document, self._length)) for document in found) or _NOTHING

    def read(self, title: str) -> str:
        """Read a whole document.

        Args:
            title: Its title, as a search shows it.

        Returns:
            The text.
        """
        text = self._index.text(title)
        if text is None:
            raise ValueError(f"no document has the title {title}")
        return text


class _Index:
    """A corpus in memory. SQLite connections take one statement at a time, so that a lock guards it."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            self._database.execute(
                "CREATE VIRTUAL TABLE documents USING fts5(title, text, tokenize='porter unicode61')"
            )
        except sqlite3.OperationalError as error:
            raise ConfigError(
                f"this Python's SQLite has no full-text search: {describe(error)}",
                given=f"SQLite {sqlite3.sqlite_version}",
                hint="use a Python whose SQLite was built with FTS5",
            ) from error
        rows = [(document.title, document.text) for document in documents]
        self._database.executemany("INSERT INTO documents VALUES (?, ?)", rows)

    def find(self, query: str, most: int) -> list[Document]:
        """The documents that hold any word of the query, best first; titles count more than texts."""
        words = re.findall(r"\w+", query)
        if not words:
            return []
        asked = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))
        statement = (
            "SELECT title, text FROM documents WHERE documents MATCH ? ORDER BY bm25(documents, 4, 1), rowid LIMIT ?"
        )
        with self._lock:
            return [Document(*row) for row in self._database.execute(statement, (asked, most))]

    def text(self, title: str) -> str | None:
        """The text under a title, whatever its case."""
        statement = "SELECT text FROM documents WHERE title = ? COLLATE NOCASE ORDER BY rowid LIMIT 1"
        with self._lock:
            row = self._database.execute(statement, (title.strip(),)).fetchone()
        return row[0] if row else None


@cache
def _index(corpus: str) -> _Index:
    return _Index(_documents(Path(corpus).expanduser()) if corpus else gazetteer().documents)


def _documents(place: Path) -> Iterator[Document]:
    """The documents of a file or folder.

    Raises:
        ConfigError: it does not exist, holds no document, or a line is not one.
    """
    if place.is_dir():
        files = [path for path in sorted(place.rglob("*")) if path.suffix in _TEXTS]
        if not files:
            raise ConfigError("the corpus has no documents", given=str(place), hint="a folder of .md or .txt files")
        yield from (Document(path.stem, path.read_text(encoding="utf-8", errors="replace")) for path in files)
        return
    if not place.is_file():
        raise ConfigError(
            "no such corpus", given=str(place), hint="a JSON-lines file with title and text, or a folder of texts"
        )
    lines = place.read_text(encoding="utf-8").splitlines()
    if not any(line.strip() for line in lines):
        raise ConfigError("the corpus has no documents", given=str(place))
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _document(place, number, line)


def _document(place: Path, number: int, line: str) -> Document:
    try:
        row = json.loads(line)
        return Document(str(row["title"]), str(row["text"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"line {number} of the corpus is no document: {describe(error)}",
            given=f"{place}: {line[:80]}",
            hint='{"title": "...", "text": "..."}',
        ) from error


def _shortened(document: Document, length: int) -> Document:
    """The document on one line, with at most so many characters of its text."""
    text = " ".join(document.text.split())
    return Document(document.title, text if len(text) <= length else f"{text[:length].rstrip()} ...")
