"""Generated data files, whole ones and damaged ones, each with the exit codes that reading it may have."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from command_lines import EITHER, RIGHT, WRONG, Case

Rows = list[dict[str, Any]]
KINDS: dict[str, Rows] = {
    "sft": [{"prompt": f"What is {n} + {n}? \u00fc", "completion": f"{2 * n}"} for n in range(12)],
    "reason": [{"prompt": f"What is {n} + {n}?", "answer": f"{2 * n}", "id": n} for n in range(12)],
    "train-rm": [{"prompt": f"Say {n}", "chosen": f"{n}", "rejected": f"not {n}"} for n in range(12)],
}
"""Verb -> rows that it learns from."""
COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "run": lambda verb, name: [verb, "--data", name, *(["--reward", "exact"] if verb == "reason" else []), "--dry-run"],
    "check": lambda verb, name: ["data", "check", name],
    "show": lambda verb, name: ["data", "show", name],
    "eval": lambda verb, name: ["eval", "--data", name, "--reward", "exact", "--dry-run"],
}


def _table(rows: Rows, delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: Rows) -> bytes:
    import pyarrow
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _arrow(rows: Rows) -> bytes:
    import pyarrow

    table, sink = pyarrow.Table.from_pylist(rows), io.BytesIO()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


FORMATS: dict[str, Callable[[Rows], bytes]] = {
    ".jsonl": _lines,
    ".json": lambda rows: json.dumps(rows).encode(),
    ".csv": lambda rows: _table(rows, ","),
    ".tsv": lambda rows: _table(rows, "\t"),
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".jsonl.gz": lambda rows: gzip.compress(_lines(rows)),
}
ROW_VALUES: list[Any] = [
    None,
    "",
    " ",
    [],
    {},
    0,
    -1,
    10**400,
    1e308,
    True,
    "\0",
    "\ud83d",
    "\x1b[31m",
    "x" * 5000,
    [None],
    [[[]]],
]
ROW_VALUES += [
    {"role": "user"},
    [{"role": "user", "content": None}],
    [{"role": "x", "content": "y"}],
    {"a": {"b": {"c": 1}}},
]


def _odd_value(rows: Rows, random: Random) -> Rows:
    """One value of a row is of another kind."""
    rows = [dict(row) for row in rows]
    row = random.choice(rows)
    row[random.choice(list(row))] = random.choice(ROW_VALUES)
    return rows


def _odd_column(rows: Rows, random: Random) -> Rows:
    """A column is gone, doubled, or renamed."""
    name = random.choice(list(rows[0]))
    other = random.choice(["", "Prompt", "messages", "text", "images", "tools", "\u00e9", "a.b", "label", "score"])
    return [{(other if key == name else key): value for key, value in row.items()} for row in rows]


def _damaged(content: bytes, suffix: str, random: Random) -> tuple[bytes, frozenset[int]]:
    """Damage of the bytes, and what may come of it."""
    whole = WRONG if suffix in (".json", ".parquet", ".arrow", ".jsonl.gz") else EITHER  # a part of these is no file
    cut = random.randrange(len(content))
    garbage = bytes(random.randrange(256) for _ in range(random.randrange(1, 60)))
    return random.choice(
        [
            (b"", WRONG),
            (b"\n\n  \n", WRONG),
            (garbage * 9, whole),
            (content[:cut], whole),
            (content[:cut] + garbage + content[cut:], EITHER),
            (content[:cut] + b"\0" * 64 + content[cut:], EITHER),
            (content + b"\0" * 512, EITHER),
            (content[:cut] + bytes([content[cut] ^ 1 << random.randrange(8)]) + content[cut + 1 :], EITHER),
            (b"\xef\xbb\xbf" + content, EITHER),
            (b"\xff\xfe" + content, whole),
            (content.replace(b'"', b"'"), EITHER),
            (content.replace(b'"', b'"""', 1), EITHER),
            (content.replace(b"\n", b"\r"), EITHER),
            (b"[" * 2000 + content, whole),
            (b"null\n" + content, EITHER),
            (content[cut:] + content[:cut], EITHER),
        ]
    )


def cases(seed: int, number: int) -> Iterator[Case]:
    """As many files with a command that reads each, in the order of the seed; one in ten is whole."""
    random = Random(seed)
    for _ in range(number):
        verb, suffix = random.choice(list(KINDS)), random.choice(list(FORMATS))
        rows, name, codes = KINDS[verb], f"rows{suffix}", EITHER
        kind = random.choices(["whole", "bytes", "value", "column", "suffix"], [1, 5, 2, 1, 1])[0]
        command = "check" if verb == "train-rm" and kind == "whole" else random.choice(list(COMMANDS))
        try:
            changed = {"value": _odd_value, "column": _odd_column}.get(kind, lambda rows, random: rows)(rows, random)
            content = FORMATS[suffix](changed)
        except (ValueError, TypeError, OverflowError, UnicodeError):  # a format that cannot hold the odd value
            content = _lines(rows)[:-9]
        except Exception as error:  # Arrow's own errors are no ValueError in all versions
            if "rrow" not in type(error).__name__:
                raise
            content = b"PAR1"
        if kind == "bytes":
            content, codes = _damaged(content, suffix, random)
        elif kind == "suffix":
            name = f"rows{random.choice(list(FORMATS))}"
        elif kind == "whole" and (command in ("check", "show", "run") or verb == "reason"):
            codes = RIGHT
        yield Case(COMMANDS[command](verb, name), codes, {name: content})
