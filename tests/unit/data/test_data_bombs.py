"""A small file that unpacks to gigabytes, or one endless line, is refused in bounded memory by a named limit."""

from __future__ import annotations

import gzip
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from rlllm.core.errors import DataError
from rlllm.core.records import Sample
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import READERS, suffix_of
from rlllm.data.io.unpacking import LONGEST_LINE
from rlllm.rewards.code import suites

GIB = 2**30


def read(path: Path) -> list[object]:
    return [placed.row for placed in READERS[suffix_of(path)](path, BadRows("fail"))]


def bomb(begins: bytes, size: int, wbits: int) -> bytes:
    """A few MiB that unpack to a beginning and `size` bytes of one letter; its end and its checksum are missing."""
    packer, piece = zlib.compressobj(6, wbits=wbits), b"a" * 2**22
    start = packer.compress(begins) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(piece) + packer.flush(
        zlib.Z_FULL_FLUSH
    )  # refers to nothing before it, and so may be repeated
    return start + again * (size // len(piece))


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("line.jsonl.gz", b'{"prompt": "'),
        ("second.jsonl.gz", b'{"prompt": "1+1?", "completion": "2"}\n{"prompt": "'),
        ("list.json.gz", b'[{"prompt": "'),
        ("cell.csv.gz", b"prompt,completion\n"),
        ("quoted.tsv.gz", b'prompt\tcompletion\n"'),
    ],
)
def test_a_gzip_bomb_is_refused_within_a_gigabyte(name: str, begins: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(bomb(begins, 2 * GIB, wbits=31))
    assert path.stat().st_size < 4 * 2**20
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "from rlllm_cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "data", "check", f"{path}"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2, done.stderr[-600:]
    assert "unpack to more than" in done.stderr or "is longer than 64 MiB" in done.stderr


def test_many_equal_rows_are_a_bomb_as_well(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    row = b'{"prompt": "%s", "completion": "2"}\n' % (b"1+" * 2000)
    packer = zlib.compressobj(9, wbits=31)
    path.write_bytes(packer.compress(row * (100 * 2**20 // len(row))) + packer.flush())
    with pytest.raises(DataError, match="more than 200 times"):
        sum(1 for _ in READERS[".jsonl.gz"](path, BadRows("fail")))


def test_rows_of_text_are_read_from_a_compressed_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(f'{{"prompt": "{n}+{n * n}?", "completion": "{n + n * n}"}}\n' for n in range(20_000))
    assert len(read(path)) == 20_000


@pytest.mark.parametrize("name", ["long.jsonl", "long.csv"])
def test_a_line_that_never_ends_is_refused_by_its_number(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"prompt": "1"}\n' + b"a" * (LONGEST_LINE + 2))
    with pytest.raises(DataError, match=r"line 2 is longer than 64 MiB"):
        read(path)


@pytest.mark.parametrize(
    "text", ["\nprompt,answer\n1+1?,2\n", "\r\n  \r\nprompt,answer\r\n1+1?,2\r\n", "\ufeff\nprompt,answer\n1+1?,2\n"]
)
def test_blank_lines_before_the_header_of_a_table_are_passed_over(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text, newline="")
    assert read(path) == [{"prompt": "1+1?", "answer": "2"}]
    assert next(READERS[".csv"](path, BadRows("fail"))).place == f"line {text.count(chr(10))} of rows.csv"


def test_hidden_tests_that_unpack_without_end_are_refused() -> None:
    import base64
    import json
    import pickle

    tests = json.dumps([{"input": "1", "output": "1", "testtype": "stdin"}])
    whole = base64.b64encode(zlib.compress(pickle.dumps(tests))).decode()
    large = base64.b64encode(bomb(b"", 2 * GIB, wbits=15)).decode()

    def suite(hidden: str) -> suites.Suite:
        return suites.suite_of(Sample("p", "c", None, {"public_test_cases": tests, "private_test_cases": hidden}))

    suite(whole)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(suites.UnfitRowError, match="unpack to more than 256 MiB"):
        suite(large)
    with pytest.raises(suites.UnfitRowError, match="cut off"):
        suite(base64.b64encode(zlib.compress(pickle.dumps(tests * 99))[:-4]).decode())
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20 < 1, "GiB"
