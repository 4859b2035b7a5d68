"""Run one SQL statement on a small SQLite database in memory with limits: no file, no second statement, no endless query.

SQLite itself enforces every limit: an authorizer says what a statement may do, a progress handler counts the steps of the
virtual machine, limits cap the length of values and the number of attached databases. The heap limit is one of the process.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Row = tuple[object, ...]

_STEPS_BETWEEN_LOOKS = 50
_LONGEST_VALUE = 100_000
"""Bytes of one string, and of the statement. A single function call may cost the square of it."""
_LARGEST_DATABASE = 16_384
"""Pages of 4 KiB."""
_HEAP = 256 * 1024 * 1024
"""Bytes all of SQLite may hold in this process."""
_READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_WRITES = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})
_NEVER = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})
_NO_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
_NO_SCHEMA = frozenset({"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"})
_WIDE = re.compile(r"%[^a-zA-Z%]*(?:\d{4}|\*)")
_PRAGMAS_OF_DUMPS = frozenset({"foreign_keys"})


class QueryError(Exception):
    """A statement that does not run: wrong SQL, or out of bounds. Its text says which."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one statement may cost."""

    steps: int
    """Instructions of SQLite's virtual machine."""
    seconds: float
    """Wall time; a guard for single instructions that are slow. The steps should end a query first, wherever it runs."""


class Database:
    """A fresh database in memory after its set-up. Use as a context manager.

    Raises:
        QueryError: the set-up does not run within the bounds.
    """

    def __init__(self, setup: str, bounds: Bounds) -> None:
        self._bounds = bounds
        self._connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        self._connection.text_factory = lambda data: data.decode("utf-8", "replace")
        for name in ("printf", "format"):
            self._connection.create_function(name, -1, _narrow_printf, deterministic=True)
        try:
            with _as_query_error():
                for pragma in ("temp_store=MEMORY", f"max_page_count={_LARGEST_DATABASE}", f"hard_heap_limit={_HEAP}"):
                    self._connection.execute(f"PRAGMA {pragma}")
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            with self._bounded(_may_set_up):
                self._connection.executescript(setup)
        except QueryError:
            self.close()
            raise
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _LONGEST_VALUE)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def run(self, statement: str, *, rows: int, writes: bool = False) -> list[Row]:
        """The first `rows` rows of one statement, which may read, and write to tables only where `writes` is set.

        Raises:
            QueryError: it does not compile, is more than one statement, is not allowed, or runs out of its bounds.
        """
        with self._bounded(_may_write if writes else _may_read):
            cursor = self._connection.execute(statement)
            result = cursor.fetchmany(rows) if cursor.description else []
            cursor.close()
            return result

    def contents(self, rows: int) -> dict[str, list[Row]]:
        """Every table by name, up to `rows` rows of each."""
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
        tables = [str(name) for (name,) in self.run(names, rows=rows)]
        return {name: self.run('SELECT * FROM "{}"'.format(name.replace('"', '""')), rows=rows) for name in tables}

    @contextlib.contextmanager
    def _bounded(self, allowed: Callable[..., bool]) -> Iterator[None]:
        meter = _Meter(self._bounds)
        self._connection.set_authorizer(
            lambda *request: sqlite3.SQLITE_OK if allowed(*request) else sqlite3.SQLITE_DENY
        )
        self._connection.set_progress_handler(meter.look, _STEPS_BETWEEN_LOOKS)
        try:
            with _as_query_error(meter):
                yield
        finally:
            self._connection.set_progress_handler(None, 0)


def _narrow_printf(*arguments: str | float | bytes | None) -> str | None:
    """SQLite's own printf, for widths below a thousand: it writes wider ones out before any bound is looked at."""
    if arguments and _WIDE.search(str(arguments[0])):
        raise ValueError("too wide")
    with contextlib.closing(sqlite3.connect(":memory:")) as plain:
        return plain.execute(f"SELECT printf({', '.join('?' * len(arguments))})", arguments).fetchone()[0]


class _Meter:
    """Counts the looks at a running statement; says stop once a bound is passed."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._steps = 0
        self._end = time.monotonic() + bounds.seconds
        self.passed: str | None = None

    def look(self) -> int:
        self._steps += _STEPS_BETWEEN_LOOKS
        if self._steps > self._bounds.steps:
            self.passed = f"stopped after {self._bounds.steps} steps"
        elif time.monotonic() > self._end:
            self.passed = f"stopped after {self._bounds.seconds:g} seconds"
        return int(self.passed is not None)


@contextlib.contextmanager
def _as_query_error(meter: _Meter | None = None) -> Iterator[None]:
    """Whatever SQLite or its Python layer says of bad text becomes a `QueryError`."""
    try:
        yield
    except MemoryError as error:
        raise QueryError("out of memory") from error
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        if meter and not meter.passed and str(error) == "interrupted":
            # Ctrl-C arrives in the progress handler, where SQLite's layer turns every exception into this one
            raise KeyboardInterrupt from error
        raise QueryError(meter.passed if meter and meter.passed else str(error)[:200]) from error


def _may_read(action: int, first: str | None, second: str | None, *_: object) -> bool:
    if action == sqlite3.SQLITE_FUNCTION:
        return str(second).lower() not in _NO_FUNCTIONS
    return action in _READS


def _may_write(action: int, first: str | None, second: str | None, *_: object) -> bool:
    if action in _WRITES:
        return str(first).lower() not in _NO_SCHEMA
    return _may_read(action, first, second)


def _may_set_up(action: int, first: str | None, second: str | None, *_: object) -> bool:
    if action == sqlite3.SQLITE_PRAGMA:
        return str(first).lower() in _PRAGMAS_OF_DUMPS
    if action == sqlite3.SQLITE_FUNCTION:
        return str(second).lower() not in _NO_FUNCTIONS
    return action not in _NEVER
