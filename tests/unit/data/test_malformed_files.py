"""Hundreds of damaged files: an error of ours that names the file, or a counted skip; never a traceback or a wrong record.

Every file holds the same eight rows, of which some are damaged. A record that comes out has to be one of the eight.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest

from rlllm.core.errors import RlllmError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Record, StepwiseSolution
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import OnBadRow
from rlllm.data.load import Loaded, load

ROWS = [{"prompt": f"What is {n} + {n}? \u00fc", "answer": f"{2 * n}", "id": f"row {n}"} for n in range(8)]
TRUE = {(row["prompt"], row["answer"]) for row in ROWS}
POLICIES: tuple[OnBadRow, ...] = get_args(OnBadRow)
Damage = Callable[[list[bytes], Random], Iterable[bytes]]


def _line(change: Callable[[bytes], bytes]) -> Damage:
    """Damage of one line that is neither the first nor the last."""

    def damage(lines: list[bytes], random: Random) -> list[bytes]:
        at = random.randrange(2, len(lines) - 1)
        return [change(line) if index == at else line for index, line in enumerate(lines)]

    return damage


def _whole(change: Callable[[bytes, Random], bytes]) -> Damage:
    return lambda lines, random: [change(b"".join(lines), random)]


def _garbage(random: Random) -> bytes:
    return bytes(random.randrange(256) for _ in range(40)).replace(b"\n", b" ")


ANYWHERE: dict[str, Damage] = {
    "cut": _whole(lambda data, random: data[: random.randrange(len(data))]),
    "cut at a row's middle": _whole(lambda data, random: data[: data.rindex(b"What") + 6]),
    "a line of random bytes": lambda lines, random: [*lines[:3], _garbage(random) + b"\n", *lines[3:]],
    "a line of zeros": lambda lines, random: [*lines[:3], b"\0" * 64 + b"\n", *lines[3:]],
    "a tail of zeros": lambda lines, random: [*lines, b"\0" * 4096],
    "latin-1 in one line": _line(lambda line: line.decode().encode("latin-1")),
    "UTF-16": _whole(lambda data, random: data.decode().encode("utf-16")),
    "a byte order mark": _whole(lambda data, random: b"\xef\xbb\xbf" + data),
    "CRLF": _whole(lambda data, random: data.replace(b"\n", b"\r\n")),
    "CR": _whole(lambda data, random: data.replace(b"\n", b"\r")),
    "empty": lambda lines, random: [],
    "blanks only": lambda lines, random: [b" \n\t\n\n"],
    "one line only": lambda lines, random: lines[:1],
    "an open quote": _line(lambda line: line.replace(b'"', b"", 2).replace(b"What", b'"What', 1)),
    "a quote too many": _line(lambda line: line.replace(b"What", b'Wh"at')),
    "half a line missing": _line(lambda line: line[: len(line) // 2] + b"\n"),
    "two lines as one": _line(lambda line: line.rstrip(b"\n")),
}
VALUES: dict[str, str] = {
    "null": "null",
    "a number": "12",
    "true": "true",
    "a nested list": '[["What"]]',
    "an object": '{"text": "What"}',
    "no messages": "[]",
    "a message without a role": '[{"content": "What"}]',
    "deep nesting": "[" * 400 + "]" * 400,
    "deeper nesting": "[" * 100_000,
    "NaN": "NaN",
    "a huge number": "1e999",
    "a long number": "9" * 5000,
    "half a character": '"\\ud83d"',
    "blank text": '"  "',
    "a comment": "/* */",
}
JSON_LINES: dict[str, Damage] = {
    **{
        f"prompt is {name}": _line(lambda line, value=value: _set(line, "prompt", value))  # type: ignore[misc]
        for name, value in VALUES.items()
    },
    **{
        f"answer is {name}": _line(lambda line, value=value: _set(line, "answer", value))  # type: ignore[misc]
        for name, value in VALUES.items()
        if name not in ("a number", "a long number", "blank text", "a message without a role")  # answers, or none
    },
    "a key twice": _line(lambda line: line.replace(b'{"prompt"', b'{"prompt": "other", "prompt"')),
    "a list": _line(lambda line: b"[" + line.strip() + b"]\n"),
    "a text": _line(lambda line: json.dumps(line.decode()).encode() + b"\n"),
    "no prompt": _line(lambda line: line.replace(b'"prompt"', b'"promt"')),
}
TABLES: dict[str, Damage] = {
    "a cell too many": _line(lambda line: line.rstrip(b"\n") + b',"x"\n'),
    "a cell too few": _line(lambda line: line[: line.rindex(b'"row') - 1] + b"\n"),
    "no header": lambda lines, random: lines[1:],
    "a header twice": lambda lines, random: [lines[0].replace(b"answer", b"prompt"), *lines[1:]],
    "JSON under the wrong suffix": lambda lines, random: _json_lines(),
    "a blank prompt": _line(lambda line: b'" ","1","x"\n'),
}
BYTES: dict[str, Damage] = {
    "cut": _whole(lambda data, random: data[: random.randrange(len(data))]),
    "one byte": _whole(lambda data, random: _poked(data, random, 1)),
    "many bytes": _whole(lambda data, random: _poked(data, random, 40)),
    "zeros inside": _whole(lambda data, random: data[:40] + b"\0" * 64 + data[104:]),
    "garbage behind": _whole(lambda data, random: data + _garbage(random)),
    "garbage only": _whole(lambda data, random: _garbage(random)),
    "empty": lambda lines, random: [],
}


def _set(line: bytes, key: str, value: str) -> bytes:
    row = {**json.loads(line), key: "HERE"}
    return json.dumps(row).replace('"HERE"', value).encode() + b"\n"


def _poked(data: bytes, random: Random, count: int) -> bytes:
    poked = bytearray(data)
    for _ in range(count):
        poked[random.randrange(len(poked))] = random.randrange(256)
    return bytes(poked)


def _json_lines() -> list[bytes]:
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS]


def _table_lines(delimiter: str) -> list[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([list(ROWS[0]), *(row.values() for row in ROWS)])
    return text.getvalue().encode().splitlines(keepends=True)


def _binary(suffix: str, folder: Path) -> bytes:
    import pyarrow
    from pyarrow import feather, parquet

    table, path = pyarrow.Table.from_pylist(ROWS), folder / "whole"
    if suffix == ".parquet":
        parquet.write_table(table, path)
    elif suffix == ".feather":
        feather.write_feather(table, str(path))
    else:
        make = pyarrow.ipc.new_file if suffix == ".arrow" else pyarrow.ipc.new_stream
        with make(str(path), table.schema) as writer:
            writer.write_table(table)
    return path.read_bytes()


def outcome(path: Path, kind: type[Record], policy: OnBadRow) -> Loaded | None:
    """What was loaded, or None where the file was refused; any other exception is the test's failure."""
    refusal: RlllmError | None = None
    try:
        return load(DataConfig(name=str(path), on_bad_row=policy), kind)
    except RlllmError as error:
        refusal = error
    assert refusal.exit_code == 2
    assert path.name in str(refusal)
    return None


def check(path: Path, *, counted: int | None = None) -> None:
    """Every policy and type: no other exception, no record that is not one of the eight, no row lost uncounted."""
    for kind in (Conversation, PreferencePair, StepwiseSolution):
        outcome(path, kind, "skip")
    for policy in POLICIES:
        data = outcome(path, PromptTask, policy)
        if data is None:
            continue
        records = {(task.prompt, task.answer) for task in data.train}
        # NaN, null, or cut before the answer; `true` is an answer
        unanswered = {(prompt, gap) for prompt, _ in TRUE for gap in (None, "", "true")}
        assert records <= TRUE | unanswered
        assert policy == "skip" or not data.skipped
        assert len(data.skipped_examples) == data.skipped
        assert counted is None or len(data.train) + data.skipped == counted


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", [*ANYWHERE, *JSON_LINES])
def test_damaged_json_lines_are_refused_or_counted(tmp_path: Path, name: str, compressed: bool) -> None:
    for seed in range(1 if compressed else 2):
        data = b"".join({**ANYWHERE, **JSON_LINES}[name](_json_lines(), Random(f"{name} {seed}")))
        path = tmp_path / f"rows{seed}.jsonl{'.gz' * compressed}"
        path.write_bytes(gzip.compress(data) if compressed else data)
        check(path, counted=sum(bool(line.strip()) for line in data.split(b"\n")))


@pytest.mark.parametrize("name", [*ANYWHERE, *JSON_LINES])
def test_a_damaged_json_list_is_refused_or_counted(tmp_path: Path, name: str) -> None:
    lines = [line.rstrip(b"\n") + b",\n" for line in _json_lines()[:-1]]
    if name in JSON_LINES:
        damaged = [line.rstrip(b"\n") for line in JSON_LINES[name](_json_lines(), Random(name))]
        data = b"[" + b",\n".join(damaged) + b"]"
    else:
        data = b"".join(ANYWHERE[name]([b"[\n", *lines, _json_lines()[-1], b"]"], Random(name)))
    path = tmp_path / "rows.json"
    path.write_bytes(data)
    check(path)


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
@pytest.mark.parametrize("name", [*ANYWHERE, *TABLES])
def test_a_damaged_table_is_refused_or_counted(tmp_path: Path, name: str, suffix: str, delimiter: str) -> None:
    for seed in range(2):
        data = b"".join({**ANYWHERE, **TABLES}[name](_table_lines(delimiter), Random(f"{name} {seed}")))
        path = tmp_path / f"rows{seed}{suffix}"
        path.write_bytes(data)
        check(path)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather", ".stream", ".jsonl.gz", ".csv.gz"])
@pytest.mark.parametrize("name", BYTES)
def test_damaged_bytes_of_a_binary_file_are_refused(tmp_path: Path, name: str, suffix: str) -> None:
    """A flipped byte inside a text is not always seen (Arrow has no checksums): here only the exception counts."""
    if suffix.endswith(".gz"):
        whole = gzip.compress(b"".join(_json_lines() if "json" in suffix else _table_lines(",")))
    else:
        whole = _binary(suffix, tmp_path)
    for seed in range(4):
        path = tmp_path / f"rows{seed}{'.arrow' if suffix == '.stream' else suffix}"
        path.write_bytes(b"".join(BYTES[name]([whole], Random(f"{name} {seed}"))))
        for policy in POLICIES:
            outcome(path, PromptTask, policy)


def test_whole_files_of_every_format_give_all_rows(tmp_path: Path) -> None:
    contents: dict[str, Any] = {
        ".jsonl": b"".join(_json_lines()),
        ".jsonl.gz": gzip.compress(b"".join(_json_lines())),
        ".json": json.dumps(ROWS).encode(),
        ".json.gz": gzip.compress(json.dumps(ROWS, indent=1).encode()),
        ".csv": b"".join(_table_lines(",")),
        ".csv.gz": gzip.compress(b"".join(_table_lines(","))),
        ".tsv": b"".join(_table_lines("\t")),
        **{suffix: _binary(suffix, tmp_path) for suffix in (".parquet", ".arrow", ".feather")},
        "-stream.arrow": _binary(".stream", tmp_path),
    }
    for suffix, data in contents.items():
        path = tmp_path / f"rows{suffix}"
        path.write_bytes(data)
        loaded = load(DataConfig(name=str(path)), PromptTask)
        assert [(task.prompt, task.answer, task.meta["id"]) for task in loaded.train] == [
            tuple(r.values()) for r in ROWS
        ]
