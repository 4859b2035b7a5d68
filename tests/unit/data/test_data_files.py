"""Files of every kind give the same rows, and every kind of damage gives one message that names the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import DataError
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.files import iterate_folder, read_file
from rlllm.data.io.formats import Placed


def read_folder(path: Path, split: str) -> list[Placed]:
    return list(iterate_folder(path, split, BadRows()))


ROWS = [{"prompt": "one\ntwo", "answer": "1"}, {"prompt": 'a "b", ü', "answer": "2"}]


def _jsonl(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", encoding="utf-8")


def _json(path: Path) -> None:
    path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")


def _nested_json(path: Path) -> None:
    path.write_text(json.dumps({"version": 1, "data": ROWS}), encoding="utf-8")


def _csv(path: Path) -> None:
    path.write_text('\ufeffprompt,answer\r\n"one\ntwo",1\r\n"a ""b"", ü",2\r\n', encoding="utf-8")


def _tsv(path: Path) -> None:
    path.write_text('prompt\tanswer\n"one\ntwo"\t1\n"a ""b"", ü"\t2\n', encoding="utf-8")


def _parquet(path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.jsonl", _jsonl),
        ("rows.ndjson", _jsonl),
        ("rows.json", _jsonl),
        ("rows.json", _json),
        ("rows.json", _nested_json),
        ("rows.csv", _csv),
        ("rows.tsv", _tsv),
        ("ROWS.PARQUET", _parquet),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    assert [placed.row for placed in read_file(tmp_path / name)] == ROWS


@pytest.mark.parametrize(
    ("name", "text", "fragments"),
    [
        ("a.jsonl", "", ["empty", "a.jsonl"]),
        ("a.jsonl", " \n\n", ["empty"]),
        ("a.json", "", ["empty"]),
        ("a.csv", "prompt,answer\n", ["empty"]),
        ("a.json", "[]", ["empty"]),
        ("a.jsonl", '{"a": 1}\n\n{"a": 1 "b"}\n', ["broken JSON at line 3, column 9", '{"a": 1 "b"}']),
        ("a.jsonl", '{"a": 1}\n{"a": "cut', ["broken JSON at line 2, column 7"]),
        ("a.json", '[{"a": 1},\n{"a" 2}]', ["broken JSON at line 2, column 6"]),
        ("a.json", '{"rows": []}', ["an object with keys rows"]),
        ("a.json", '[{"a": 1}, 7]', ["row 2 of a.json is a number"]),
        ("a.jsonl", '{"a": 1}\n[1]\n', ["line 2 of a.jsonl is a list, not an object", "[1]"]),
        ("a.jsonl", '{"a": "\\ud800"}\n', ["line 1", "half a character"]),
        ("a.jsonl", "[" * 100_000, ["line 1", "RecursionError"]),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}", ["line 1", "4300 digits"]),
        ("a.csv", "a,b\n1,2\n1,2,3\n", ["line 3 of a.csv has 3 cells, the header has 2"]),
        ("a.csv", 'a,b\n1,"2\n', ["broken CSV at line 2"]),
        ("a.csv", "a,a\n1,2\n", ["'a' more than once"]),
        ("a.parquet", "PAR1 but not really PAR1", ["not a readable Parquet file"]),
        ("a.txt", "hello", ["cannot read .txt", ".jsonl"]),
    ],
)
def test_a_damaged_file_is_one_data_error_with_its_place(
    tmp_path: Path, name: str, text: str, fragments: list[str]
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_file(tmp_path / name)
    assert caught.value.exit_code == 2
    assert all(fragment in str(caught.value) for fragment in [*fragments, name])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", '\ufeffprompt;answer\n"6*7?";42\n'),
        ("a.csv", "sep=;\r\nprompt;answer\r\n6*7?;42\r\n"),
        ("a.csv", "prompt\tanswer\n6*7?\t42\n"),
        ("a.csv", "prompt|answer\n6*7?|42\n"),
        ("a.tsv", "prompt,answer\n6*7?,42\n"),
        ("a.csv", '"prompt";"answer"\n"6*7?";"42"\n'),
    ],
)
def test_the_delimiter_of_a_table_is_that_of_its_header(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert [placed.row for placed in read_file(tmp_path / name)] == [{"prompt": "6*7?", "answer": "42"}]


def test_a_header_with_the_usual_delimiter_decides_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b,c;d;e\n1,2\n")
    (tmp_path / "one.csv").write_text('text\n"a; b"\n')
    assert [placed.row for placed in read_file(tmp_path / "a.csv")] == [{"a;b": "1", "c;d;e": "2"}]
    assert [placed.row for placed in read_file(tmp_path / "one.csv")] == [{"text": "a; b"}]


def test_a_row_of_a_table_with_a_stated_delimiter_has_the_number_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\na;b\n1;2\n")
    assert [placed.place for placed in read_file(tmp_path / "a.csv")] == ["line 3 of a.csv"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json"])
def test_bytes_that_are_no_utf8_name_their_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(DataError, match=r"line 2 of a\.\w+ is not UTF-8"):
        read_file(tmp_path / name)


def test_a_long_line_is_shown_only_around_the_fault(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "' + "x" * 5000 + '" oops}', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_file(tmp_path / "a.jsonl")
    assert "oops" in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("pairz.jsonl", "pairs.jsonl"), ("pairs.csv", "pairs.jsonl"), ("pairs", "pairs.jsonl")],
)
def test_a_missing_file_gets_the_nearest_name_in_its_folder(tmp_path: Path, asked: str, hint: str) -> None:
    (tmp_path / "pairs.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="no such data file") as caught:
        read_file(tmp_path / asked)
    assert str(caught.value.hint).endswith(f"{hint}?")


def test_a_missing_file_without_a_near_name_lists_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a\n1\n")
    with pytest.raises(DataError) as caught:
        read_file(tmp_path / "zzz.jsonl")
    assert caught.value.exists == ["other.csv"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its folder does not exist"):
        read_file(tmp_path / "nowhere" / "a.jsonl")


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_text(json.dumps({"from": name}) + "\n")
    (tmp_path / "README.md").write_text("about")
    assert [placed.row["from"] for placed in read_folder(tmp_path, "train")] == ["a.jsonl", "b.jsonl"]


def test_files_named_after_splits_are_read_only_for_their_split(tmp_path: Path) -> None:
    for name in ("train-00000.jsonl", "train-00001.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(json.dumps({"from": name}) + "\n")
    assert [placed.row["from"] for placed in read_folder(tmp_path, "train")] == [
        "train-00000.jsonl",
        "train-00001.jsonl",
    ]
    assert [placed.row["from"] for placed in read_folder(tmp_path, "test")] == ["test.jsonl"]
    with pytest.raises(DataError, match="no split validation") as caught:
        read_folder(tmp_path, "validation")
    assert caught.value.exists == ["test", "train"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [([], "no data files"), (["a.csv", "b.jsonl"], "mixes .csv and .jsonl"), (["notes.md"], "no data files")],
)
def test_a_folder_without_one_kind_of_data_is_refused(tmp_path: Path, names: list[str], problem: str) -> None:
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=problem):
        read_folder(tmp_path, "train")


def write_rows(folder: Path, *names: str) -> None:
    """Each file with one row, which says the name of its file."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            import pyarrow
            from pyarrow import parquet

            parquet.write_table(pyarrow.Table.from_pylist([{"from": name}]), path)
        else:
            path.write_text(json.dumps({"from": name}) + "\n")


SHARDED = ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet")
SEVERAL = ("data/train_prefs-00000-of-00001.parquet", "data/train_sft-00000-of-00001.parquet")
SUBSETS = (
    "main/train-00000-of-00001.parquet",
    "main/test-00000-of-00001.parquet",
    "socratic/train-00000-of-00001.parquet",
)
DECLARED = """---
license: mit
configs:
- config_name: main
  default: true
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: main/test-*
- config_name: socratic
  data_files:
  - {split: train, path: [socratic/train-*]}
---
# About
"""


@pytest.mark.parametrize(
    ("names", "readme", "split", "subset", "read"),
    [
        (SHARDED, "", "train", None, SHARDED[:2]),
        (SHARDED, "", "test", None, SHARDED[2:]),
        (SHARDED, "# no head\n", "train", None, SHARDED[:2]),
        (SHARDED, "---\nconfigs: [a, b\n---\n", "train", None, SHARDED[:2]),
        ((*SHARDED, "dataset_infos.json", ".git/train.json"), "", "train", None, SHARDED[:2]),
        (SEVERAL, "", "train_sft", None, SEVERAL[1:]),
        (SUBSETS, "", "train", "main", SUBSETS[:1]),
        (SUBSETS, "", "train", "socratic", SUBSETS[2:]),
        (SUBSETS, DECLARED, "train", None, SUBSETS[:1]),
        (SUBSETS, DECLARED, "test", None, SUBSETS[1:2]),
        (SUBSETS, DECLARED, "test", "main", SUBSETS[1:2]),
        (SUBSETS, DECLARED, "train", "socratic", SUBSETS[2:]),
        (("train/a.jsonl", "test/a.jsonl"), "", "test", None, ("test/a.jsonl",)),
        (("en/a.jsonl",), "", "train", None, ("en/a.jsonl",)),
        (
            ("all.jsonl",),
            "---\nconfigs:\n- config_name: x\n  data_files: '*.jsonl'\n---\n",
            "train",
            None,
            ("all.jsonl",),
        ),
    ],
)
def test_a_clone_of_a_hub_data_set_is_read_as_the_hub_reads_it(
    tmp_path: Path, names: tuple[str, ...], readme: str, split: str, subset: str | None, read: tuple[str, ...]
) -> None:
    write_rows(tmp_path, *names)
    (tmp_path / "README.md").write_text(readme)
    rows = iterate_folder(tmp_path, split, BadRows(), subset)
    assert [placed.row["from"] for placed in rows] == list(read)


@pytest.mark.parametrize(
    ("names", "readme", "split", "subset", "problem", "exists"),
    [
        (SEVERAL, "", "train", None, "no split train", ["train_prefs", "train_sft"]),
        (SUBSETS, "", "train", None, "several data sets", ["main", "socratic"]),
        (SUBSETS, DECLARED.replace("  default: true\n", ""), "train", None, "several subsets", ["main", "socratic"]),
        (SUBSETS, DECLARED, "validation", None, "no split validation", ["test", "train"]),
        (SUBSETS, DECLARED, "train", "other", "no subset other", ["default", "main", "socratic"]),
        (SUBSETS, "", "train", "other", "no subset other", ["main", "socratic"]),
        (
            ("train-a.jsonl", "train-b.csv"),
            "",
            "train",
            None,
            "mixes .csv and .jsonl",
            ["train-a.jsonl", "train-b.csv"],
        ),
    ],
)
def test_a_clone_without_the_part_that_is_asked_for_says_what_there_is(
    tmp_path: Path, names: tuple[str, ...], readme: str, split: str, subset: str | None, problem: str, exists: list[str]
) -> None:
    write_rows(tmp_path, *names)
    (tmp_path / "README.md").write_text(readme)
    with pytest.raises(DataError, match=problem) as caught:
        list(iterate_folder(tmp_path, split, BadRows(), subset))
    assert caught.value.exists == exists


@pytest.mark.parametrize("name", ["train-00000-of-00001.parquet", "train.jsonl"])
def test_the_pointer_of_a_large_file_that_was_not_fetched_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DataError, match="Git LFS pointer") as caught:
        read_folder(tmp_path, "train")
    assert caught.value.hint == "fetch it with: git lfs pull"


def test_a_folder_written_by_save_to_disk_is_read_with_its_splits(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows: list[dict[str, Any]] = [{"prompt": "p", "answer": "a"}]
    Dataset.from_list(rows).save_to_disk(tmp_path / "one")
    DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(tmp_path / "many")
    assert [placed.row for placed in read_folder(tmp_path / "one", "train")] == rows
    assert [placed.row for placed in read_folder(tmp_path / "many", "train")] == rows
    with pytest.raises(DataError, match="no split test"):
        read_folder(tmp_path / "many", "test")
