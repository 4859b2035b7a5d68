"""SQL by execution: right and wrong queries, and queries that attack the process instead."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.verifiers.sql import SQL, is_ordered, same_rows

SETUP = "CREATE TABLE t(a INTEGER, b TEXT, c REAL); INSERT INTO t VALUES (1,'x',0.5),(2,'y',1.5),(3,'y',NULL);"
EMPTIED = "CREATE TABLE t(a INTEGER, b TEXT, c REAL); INSERT INTO t VALUES (9,'x',0.5);"
COUNTS = "SELECT b, COUNT(*) FROM t GROUP BY b"
FOREVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "


def sample(query: str, reference: str | None = COUNTS, **meta: Any) -> Sample:
    return Sample("How many of each?", query, reference, {"setup": SETUP, **meta})


QUERIES = [
    # reference, query, value
    (COUNTS, COUNTS, 1.0),
    (COUNTS, "select b, count(a) from t group by 1 order by b desc;", 1.0),
    (COUNTS, f"The query:\n```sql\n{COUNTS};\n```", 1.0),
    (COUNTS, f"<answer>{COUNTS}</answer>", 1.0),
    (COUNTS, "SELECT COUNT(*), b FROM t GROUP BY b", 0.0),
    (COUNTS, "SELECT b FROM t", 0.0),
    (COUNTS, "SELECT b, COUNT(*) FROM t WHERE a < 3 GROUP BY b", 0.0),
    ("SELECT b FROM t", "SELECT DISTINCT b FROM t", 0.0),
    ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC", 0.0),
    ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a ASC", 1.0),
    ("SELECT a FROM t", "SELECT a FROM t ORDER BY a DESC", 1.0),
    ("SELECT SUM(c) FROM t", "SELECT 2", 1.0),
    ("SELECT 0.1 + 0.2", "SELECT 0.3", 1.0),
    ("SELECT a FROM t", "SELECT CAST(a AS TEXT) FROM t", 0.0),
    ("SELECT c FROM t WHERE a = 3", "SELECT NULL", 1.0),
    ("SELECT printf('%.1f', c) FROM t WHERE a = 1", "SELECT '0.5'", 1.0),
    (COUNTS, f"{COUNTS}; {COUNTS}", 0.0),
    (COUNTS, f"```sql\nSELECT 1\n```\n```sql\n{COUNTS}\n```", 0.0),
    (COUNTS, "SELEC b", 0.0),
    (COUNTS, "", 0.0),
    (COUNTS, "I do not know.", 0.0),
]


@pytest.mark.parametrize(("reference", "query", "value"), QUERIES)
def test_the_rows_decide(reference: str, query: str, value: float) -> None:
    assert SQL()(sample(query, reference)).value == value


ATTACKS = [
    "ATTACH DATABASE '{path}' AS other",
    "VACUUM INTO '{path}'",
    "SELECT load_extension('{path}')",
    "SELECT writefile('{path}', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT fts3_tokenizer('simple', x'00')",
    "PRAGMA temp_store_directory = '/'",
    "PRAGMA writable_schema = 1",
    "SELECT * FROM pragma_database_list",
    "CREATE TEMP TABLE z AS SELECT 1",
    "CREATE TRIGGER z AFTER INSERT ON t BEGIN SELECT 1; END",
    "DROP TABLE t",
    "DELETE FROM t",
    "UPDATE t SET a = 0",
    "INSERT INTO t(a) VALUES (4)",
    "BEGIN",
    FOREVER + "SELECT x FROM n",
    FOREVER + "SELECT COUNT(*) FROM n",
    FOREVER + "SELECT zeroblob(90000) AS z FROM n ORDER BY z",
    FOREVER + "SELECT SUM(instr(zeroblob(99000), zeroblob(49000) || x'01')) FROM n",
    "SELECT zeroblob(2000000000)",
    "SELECT printf('%.*c', 2000000000, 'x')",
    "SELECT format('%2000000000d', 1)",
    "SELECT hex(zeroblob(49000)) LIKE '%0%0%0%0%0%0%0%0%0%0%1'",
    "SELECT " + "(" * 50_000,
    "SELECT 1" + " UNION SELECT 1" * 5_000,
    "SELECT '" + "x" * 1_000_000 + "'",
    "\x00",
    "SELECT '\ud800'",
]


@pytest.mark.parametrize("query", ATTACKS)
def test_a_query_reaches_no_file_writes_nothing_and_ends(query: str, tmp_path: Path) -> None:
    target = tmp_path / "reached"
    started = time.monotonic()
    assert SQL(steps=200_000, seconds=1.0)(sample(query.replace("{path}", str(target)))).value == 0.0
    assert time.monotonic() - started < 3.0
    assert not target.exists()


def test_a_query_that_does_not_end_is_stopped_by_its_steps() -> None:
    score = SQL(steps=10_000)(sample(FOREVER + "SELECT COUNT(*) FROM n"))
    assert (score.value, score.note) == (0.0, "stopped after 10000 steps")


def test_ctrl_c_ends_a_long_query_and_is_not_swallowed() -> None:
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        SQL(steps=10**9, seconds=10.0)(sample(FOREVER + "SELECT COUNT(*) FROM n"))


def test_several_databases_catch_a_query_that_is_right_by_luck() -> None:
    lucky = "SELECT 'x', 1 UNION ALL SELECT 'y', 2"
    assert SQL()(sample(lucky)).value == 1.0
    assert SQL()(sample(lucky, setup=[SETUP, EMPTIED])).value == 0.0
    assert SQL()(sample(COUNTS, setup=[SETUP, EMPTIED])).value == 1.0


def test_the_row_may_hold_the_expected_rows() -> None:
    assert SQL()(sample(COUNTS, None, rows=[["y", 2], ["x", 1]])).value == 1.0
    assert SQL()(sample("SELECT a FROM t", None, rows=[1, 2, 3.0])).value == 1.0
    assert SQL()(sample("SELECT a FROM t", None, rows=[1, 2])).value == 0.0


UNUSABLE = [
    {"setup": None},
    {"setup": []},
    {"setup": "CREATE TABL"},
    {"setup": "ATTACH '/etc/passwd' AS p"},
    {"setup": "CREATE TABLE t(a, b)"},
    {"setup": FOREVER + "SELECT COUNT(*) FROM n"},
    {"reference": "SELECT nothing FROM nowhere"},
    {"reference": "SELECT a FROM t WHERE a > 9"},
    {"reference": FOREVER + "SELECT x FROM n"},
    {"reference": "DELETE FROM t"},
    {"reference": None},
    {"reference": None, "rows": []},
    {"reference": None, "rows": [[{}]]},
]


@pytest.mark.parametrize("row", UNUSABLE)
def test_a_row_that_tells_nothing_apart_cannot_judge(row: dict[str, Any]) -> None:
    meta = {"setup": SETUP, **row}
    given = Sample("q", "SELECT a FROM t", meta.pop("reference", COUNTS), meta)
    assert SQL(steps=100_000, max_rows=100)(given).value is None


WRITES = [
    # query, value, where DELETE FROM t WHERE b = 'y' is right
    ("DELETE FROM t WHERE b = 'y'", 1.0),
    ("DELETE FROM t WHERE a >= 2", 1.0),
    ("DELETE FROM t", 0.0),
    ("SELECT 1", 0.0),
    ("DROP TABLE t", 0.0),
    ("DELETE FROM sqlite_master", 0.0),
    ("DELETE FROM t WHERE b = 'y'; DROP TABLE t", 0.0),
]


@pytest.mark.parametrize(("query", "value"), WRITES)
def test_of_a_query_that_writes_the_tables_it_leaves_decide(query: str, value: float) -> None:
    assert SQL(writes=True)(sample(query, "DELETE FROM t WHERE b = 'y'")).value == value


def test_a_reference_that_changes_nothing_cannot_judge() -> None:
    assert SQL(writes=True)(sample("SELECT 1", "DELETE FROM t WHERE a = 99")).value is None


ORDERED = [
    ("SELECT a FROM t ORDER BY a", True),
    ("select a from t order\n by a", True),
    ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
    ("SELECT 'order by' FROM t", False),
    ("SELECT a FROM t -- order by a", False),
    ("SELECT rank() OVER (ORDER BY a) FROM t", False),
    ('SELECT "order by" FROM t /* order by', False),
]


@pytest.mark.parametrize(("query", "ordered"), ORDERED)
def test_order_counts_where_the_query_itself_orders(query: str, ordered: bool) -> None:
    assert is_ordered(query) is ordered


@given(
    st.lists(st.tuples(st.integers() | st.text(max_size=3) | st.none() | st.floats(allow_nan=False)), max_size=6),
    st.randoms(),
)
def test_a_shuffled_result_is_the_same_multiset(rows: list[tuple[Any, ...]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    assert same_rows(rows, shuffled, ordered=False)


def test_bounds_have_to_be_positive() -> None:
    with pytest.raises(ConfigError, match="have to be positive"):
        SQL(steps=0)


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["SELECT", " * ", "FROM t", "'", ";", "(", "--", "a", ","])).map("".join)
)
def test_any_text_is_right_or_wrong(completion: str) -> None:
    assert SQL()(sample(completion)).value in (0.0, 1.0)
