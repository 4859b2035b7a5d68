"""The `sql` reward: the result of the completion's query equals that of the reference query, on the row's own databases.

If both queries return nothing, their equality proves nothing, so such a row cannot be judged. A wrong query may give the right
result on one small database by chance; give several databases where that matters (Zhong et al. 2020, arXiv 2010.02840, test
suites).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.verifiers.sqlite import Bounds, Database, QueryError, Row
from rlllm.rewards.verifiers.submissions import submission

_LABELS = ("sql", "sqlite")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_ORDER_BY = re.compile(r"\border\s+by\b", re.IGNORECASE)

_Wanted = tuple[Sequence[Row], bool] | dict[str, list[Row]]
"""Rows and whether their order counts, or the contents of every table."""


@dataclass(frozen=True)
class SQL:
    """1 if the completion's query gives the rows that the reference gives, on each of the row's databases; else 0.

    The row holds the set-up (SQL that creates and fills the tables; a list of texts for several databases) and the reference
    query as its answer, or the expected rows. Rows are compared as a multiset, and in order where the reference has an
    `ORDER BY` of its own; columns by position; numbers to 12 digits. The query is one SELECT: it can neither write nor
    reach a file, and ends at the bounds, which counts as wrong. None where the set-up or the reference does not run,
    returns no row (every empty result would agree), or returns more than `max_rows`.

    Args:
        column: the row's column with the set-up.
        rows: the row's column with the expected rows (a list of lists); for one database, and only without a reference.
        writes: the query is an INSERT, UPDATE or DELETE; the tables it leaves are compared with those the reference leaves,
            which must differ from those it found.
        steps: instructions of SQLite's virtual machine a query may take.
        seconds: wall time a query may take.
        max_rows: rows the reference may return, or leave in a table.
    """

    column: str = "setup"
    rows: str = "rows"
    writes: bool = False
    steps: int = 5_000_000
    seconds: float = 5.0
    max_rows: int = 10_000
    verifies = True

    def __post_init__(self) -> None:
        if not (self.steps > 0 and self.seconds > 0 and self.max_rows > 0):
            given = f"{self.steps}, {self.seconds}, {self.max_rows}"
            raise ConfigError("sql: steps, seconds and max_rows have to be positive", given=given)

    def __call__(self, sample: Sample) -> Score:
        setups = sample.meta.get(self.column)
        setups = [setups] if isinstance(setups, str) else setups
        if not (isinstance(setups, list | tuple) and setups and all(isinstance(setup, str) for setup in setups)):
            return Score(None, note=f"the row's column {self.column} holds no SQL")
        query = submission(sample.completion, _LABELS)
        try:
            references = [self._wanted(sample, setup) for setup in setups]
        except QueryError as error:
            return Score(None, parsed=query.text, note=f"the reference does not serve: {error}")
        if query.text is None:
            return Score(0.0, note=query.fault)
        for setup, expected in zip(setups, references, strict=True):
            if fault := self._fault(query.text, setup, expected):
                return Score(0.0, parsed=query.text, note=fault)
        return Score(1.0, parsed=query.text)

    def _wanted(self, sample: Sample, setup: str) -> _Wanted:
        """What the reference gives.

        Raises:
            QueryError: it does not run, or what it gives tells nothing apart.
        """
        reference = submission(sample.answer or "", _LABELS).text
        if self.writes:
            return self._left_by(reference, setup)
        if reference is None:
            rows = _expected_rows(sample.meta.get(self.rows))
            ordered = False
        else:
            with self._database(setup) as database:
                rows = database.run(reference, rows=self.max_rows + 1)
            ordered = is_ordered(reference)
        if not rows:
            raise QueryError("no rows, so that every empty result would agree")
        if len(rows) > self.max_rows:
            raise QueryError(f"more than {self.max_rows} rows")
        return rows, ordered

    def _left_by(self, reference: str | None, setup: str) -> _Wanted:
        if reference is None:
            raise QueryError("a task that writes needs a reference query")
        with self._database(setup) as database:
            before = database.contents(self.max_rows + 1)
            database.run(reference, rows=0, writes=True)
            after = database.contents(self.max_rows + 1)
        if any(len(rows) > self.max_rows for rows in after.values()):
            raise QueryError(f"more than {self.max_rows} rows in a table")
        if _same_tables(before, after):
            raise QueryError("it changes nothing, so that every idle statement would agree")
        return after

    def _fault(self, query: str, setup: str, wanted: _Wanted) -> str | None:
        """What is wrong with the query on one database; None if it gives what the reference gives."""
        try:
            with self._database(setup) as database:
                if isinstance(wanted, dict):
                    database.run(query, rows=0, writes=True)
                    left = database.contents(self.max_rows + 1)
                    return None if _same_tables(left, wanted) else "other tables are left"
                rows, ordered = wanted
                result = database.run(query, rows=len(rows) + 1)
        except QueryError as error:
            return str(error)
        return None if same_rows(result, rows, ordered=ordered) else f"other rows, first {result[:1]!r}"[:200]

    def _database(self, setup: str) -> Database:
        return Database(setup, Bounds(self.steps, self.seconds))


def is_ordered(query: str) -> bool:
    """Whether a query has an `ORDER BY` outside of strings, comments and brackets."""
    text = _QUOTED.sub(" ", query)
    depth, outer = 0, []
    for character in text:
        depth += (character == "(") - (character == ")")
        outer.append(character if depth == 0 else " ")
    return _ORDER_BY.search("".join(outer)) is not None


def same_rows(rows: Iterable[Row], expected: Iterable[Row], *, ordered: bool) -> bool:
    """Whether two results are one; `ordered` decides if the order of rows counts."""
    left, right = [_comparable(row) for row in rows], [_comparable(row) for row in expected]
    return left == right if ordered else Counter(left) == Counter(right)


def _same_tables(left: dict[str, list[Row]], right: dict[str, list[Row]]) -> bool:
    return left.keys() == right.keys() and all(same_rows(left[name], right[name], ordered=False) for name in left)


def _comparable(row: Row) -> tuple[Hashable, ...]:
    return tuple(_value(value) for value in row)


def _value(value: Any) -> Hashable:
    """A number as itself (floats to 12 digits, whole ones as integers, booleans as SQLite has them), text apart from it."""
    if isinstance(value, float):
        short = float(f"{value:.12g}")
        return int(short) if short.is_integer() else short
    return int(value) if isinstance(value, bool) else value


def _expected_rows(column: Any) -> list[Row]:
    """The expected rows of a table column: a list of lists; single values stand for rows of one column."""
    if not isinstance(column, Sequence) or isinstance(column, str):
        raise QueryError("the row has neither a reference query nor expected rows")
    rows = [tuple(row) if isinstance(row, list | tuple) else (row,) for row in column]
    if not all(isinstance(value, int | float | str | bytes | None) for row in rows for value in row):
        raise QueryError("an expected row holds something that is no value of SQL")
    return rows
