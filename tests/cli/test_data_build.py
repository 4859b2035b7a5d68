"""`rlllm data check | build | mix | decontaminate` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Rlllm


@pytest.fixture
def rows(rlllm: Rlllm) -> list[dict[str, str]]:
    """Two files in the current folder, the second with two rows of the first."""
    made = [
        {"prompt": f"Question number {n}: what comes after the number {n}?", "completion": str(n + 1)}
        for n in range(30)
    ]
    for name, part in (("a.jsonl", made[:20]), ("b.jsonl", made[18:])):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in part))
    return made


def test_a_check_says_what_data_holds(rlllm: Rlllm, rows: list[dict[str, str]]) -> None:
    said = rlllm("data check a.jsonl b.jsonl --against b.jsonl")
    assert said.code == 0, said.err
    assert "a.jsonl: 20 rows" in said.out
    assert "2 of 20 rows hold evaluation prompts: 2 by rule exact" in said.out
    strict = rlllm("data check a.jsonl --against b.jsonl --strict --json")
    assert strict.code == 1
    assert strict.json[0]["hits"][0]["rule"] == "exact"
    assert rlllm("data check a.jsonl --strict").code == 0


def test_sources_are_mixed_by_weight_and_not_twice(rlllm: Rlllm, rows: list[dict[str, str]]) -> None:
    words = "data mix a.jsonl b.jsonl --weights 2,1 --rows 15 --holdout 3 --seed 4 --out mixed"
    said = rlllm(words + " --json")
    assert said.code == 0, said.err
    assert [source["train"] for source in said.json["sources"]] == [10, 5]
    again = rlllm(words)
    assert "already built" in again.out
    assert rlllm(words.replace("15", "12")).code == 2
    assert rlllm(words.replace("15", "12") + " --overwrite").code == 0
    assert rlllm("sft --data mixed --dry-run").code == 0


def test_rows_of_an_evaluation_set_are_dropped(rlllm: Rlllm, rows: list[dict[str, str]]) -> None:
    said = rlllm("data decontaminate a.jsonl --against b.jsonl --out clean")
    assert said.code == 0, said.err
    assert "contaminated" in said.out
    assert len(Path("clean/train.jsonl").read_text().splitlines()) == 18
    assert "rlllm data decontaminate a.jsonl" in Path("clean/card.md").read_text()


def test_a_file_of_settings_is_built_and_typed_ones_win(rlllm: Rlllm, rows: list[dict[str, str]]) -> None:
    Path("data.yaml").write_text("sources: [a.jsonl, b.jsonl]\nnear_duplicates: true\nmixture: {seed: 1}\nout: made\n")
    said = rlllm("data build data.yaml holdout=4 mixture.rows=20 --json")
    assert said.code == 0, said.err
    assert (said.json["train"], said.json["holdout"], said.json["dropped"]["exact duplicates"]) == (20, 4, 2)
    assert rlllm("data build sources=a.jsonl --out other").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data build nowhere.yaml --out x", "cannot be read"),
        ("data build --out x", "missing argument"),
        ("data build sources=a.jsonl", "out"),
        ("data build a.yaml b.yaml --out x", "one file of settings"),
        ("data mix a.jsonl b.jsonl --weights 1 --out x", "1 weights for 2 sources"),
        ("data mix a.jsonl --weights two --out x", "weights"),
        ("data mix a.jsonl nowhere.jsonl --out x", "no such data file"),
        ("data decontaminate a.jsonl --against nowhere.jsonl --out x", "no such data file"),
        ("data check nowhere.jsonl", "no such data file"),
        ("data check a.jsonl --kind poem", "unknown kind of data"),
        ("data mix a.jsonl --out a.jsonl", "something else is there"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(rlllm: Rlllm, rows: list[dict[str, str]], words: str, message: str) -> None:
    said = rlllm(words)
    assert said.code == 2, said.err
    assert message in said.err
    assert "Traceback" not in said.err


def test_images_are_counted_and_mixed_with_rows_without(rlllm: Rlllm, rows: list[dict[str, str]]) -> None:
    checked = " ".join(rlllm("data check shapes#5").out.split())
    assert "images in 5 of 5 rows, 1 a row, 32x32 pixels" in checked
    said = rlllm("data mix shapes#6 a.jsonl --kind reason --out mixed")
    assert said.code == 0, said.err
    assert "images: in 6 of 26 rows, 1 a row, 32x32 pixels" in Path("mixed/card.md").read_text(encoding="utf-8")
    shown = rlllm("data show mixed --kind reason --rows 26 --json").json["records"]
    assert sum(len(record["images"]) for record in shown) == 6
