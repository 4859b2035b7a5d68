"""Several data sets on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Rlllm


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    for name, count in (("a", 10), ("b", 20)):
        rows = ({"prompt": f"{name}{n}", "answer": str(n)} for n in range(count))
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ("--data a.jsonl --data b.jsonl", "a.jsonl, b.jsonl (mixed: 10 of a.jsonl, 20 of b.jsonl): 30 training rows"),
        ("--data a.jsonl,b.jsonl:0.3", "a.jsonl, b.jsonl:0.3 (mixed: 10 of a.jsonl, 3 of b.jsonl): 13 training rows"),
        (
            "--data a.jsonl --data=b.jsonl#4:1",
            "a.jsonl, b.jsonl#4:1 (mixed: 4 of a.jsonl, 4 of b.jsonl): 8 training rows",
        ),
        ("data=a.jsonl,b.jsonl data.rows=6", "a.jsonl, b.jsonl (mixed: 2 of a.jsonl, 4 of b.jsonl): 6 training rows"),
        ("data=[a.jsonl,b.jsonl] data.holdout=0.1", "27 training rows, 3 held out"),
        ("--data b.jsonl data.holdout=0.1", "b.jsonl: 18 training rows, 2 held out"),
    ],
)
def test_data_sets_are_mixed_in_place(rlllm: Rlllm, words: str, source: str) -> None:
    for verb in ("reason --reward exact", "sft"):
        said = rlllm(f"{verb} --model nano {words} --dry-run")
        assert said.code == 0, said.err
        assert source in said.out


def test_a_recipe_names_several_with_settings(rlllm: Rlllm, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: nano\ndata:\n  - a.jsonl\n  - {name: b.jsonl, rows: 4, weight: 0.2}\n")
    said = rlllm("sft r.yaml data.holdout=2 --dry-run")
    assert said.code == 0, said.err
    assert "a.jsonl, b.jsonl#4:0.2 (mixed: 7 of a.jsonl, 2 of b.jsonl): 9 training rows, 2 held out" in said.out


@pytest.mark.parametrize(
    ("line", "out"),
    [
        ("data show a.jsonl,b.jsonl:0.3 --rows 1", "13 training rows"),
        ("data check a.jsonl,b.jsonl", "a.jsonl, b.jsonl: 30 rows"),
        ("data export a.jsonl,b.jsonl --kind sft --to trl --out x.jsonl", "x.jsonl"),
        ("data mix a.jsonl,b.jsonl --out mixed --kind sft", "30 to train on"),
        ("data mix a.jsonl b.jsonl --out mixed --kind sft --holdout 0.1", "27 to train on, 3 held out"),
        ("data export b.jsonl --kind sft --to trl --out folder --holdout 0.25", "folder/test.jsonl"),
    ],
)
def test_tools_read_a_mixture(rlllm: Rlllm, line: str, out: str) -> None:
    said = rlllm(line)
    assert said.code == 0, said.err
    assert out in said.out
