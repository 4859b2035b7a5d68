"""`rlllm data label-steps` on the embedded model: rows on disk, a summary on stdout, and errors that say what to change."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Rlllm

TINY = "--rows 4 --rollouts 2 --max-new-tokens 64"


def test_rows_are_written_and_summed_up(rlllm: Rlllm, tmp_path: Path) -> None:
    said = rlllm(f"data label-steps --data arithmetic#2 --output steps.jsonl {TINY} --json")
    assert said.code == 0
    rows = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert said.json["rows"] == len(rows) > 0
    assert said.json["steps"] == sum(len(row["steps"]) for row in rows)
    again = rlllm(f"data label-steps --data arithmetic --output steps.jsonl {TINY}")
    assert again.code == 2
    assert "the output file exists" in again.err


def test_the_summary_says_what_to_type_next(rlllm: Rlllm) -> None:
    said = rlllm(f"data label-steps --data arithmetic --reward exact --output steps.jsonl {TINY}")
    assert said.code == 0
    assert "rlllm train-rm --method process --data steps.jsonl" in said.out


def test_a_wrong_number_is_a_usage_error(rlllm: Rlllm) -> None:
    said = rlllm("data label-steps --output steps.jsonl --rollouts 0")
    assert said.code == 2
    assert "rollouts" in said.err


def test_help_does_not_need_torch(rlllm: Rlllm) -> None:
    said = rlllm("data label-steps --help")
    assert said.code == 0
    assert "--rollouts" in said.out
