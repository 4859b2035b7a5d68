"""`rlllm data label-prefs` from the command line: sampling from the embedded model, labelled by the gold utility."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Rlllm


def test_responses_are_sampled_and_labelled(rlllm: Rlllm, tmp_path: Path) -> None:
    words = "data label-prefs --data arithmetic#4 --model nano --judge gold --output labels.jsonl --max-new-tokens 24"
    said = rlllm(words + " --keep-ties --temperature 1.5 --json")
    assert said.code == 0, said.err
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert said.json["written"] == len(rows) == said.json["pairs"]
    assert said.json["pairs"] + said.json["identical"] == 4
    assert all({"prompt", "chosen", "rejected", "agreement", "answer"} <= row.keys() for row in rows)
    assert rlllm(words).code == 2


def test_the_report_is_a_few_lines(rlllm: Rlllm) -> None:
    said = rlllm("data label-prefs --data arithmetic#4 --judge gold --output labels.jsonl")
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "written               4 rows in labels.jsonl",
        "pairs                 4 judged, 0 left out (both responses one text)",
        "ties                  0",
        "unjudged              0",
        "agrees with the data  1.000 [0.510, 1.000], kappa 1.000",
    ]


def test_a_rubric_for_a_reward_is_refused(rlllm: Rlllm) -> None:
    words = [
        "data",
        "label-prefs",
        "--data",
        "arithmetic#4",
        "--judge",
        "gold",
        "--output",
        "x.jsonl",
        "--rubric",
        "kind",
    ]
    said = rlllm(*words)
    assert said.code == 2
    assert "rubric is for a generative judge" in said.err


def test_a_dry_run_says_how_much_would_be_asked_and_asks_nothing(rlllm: Rlllm, tmp_path: Path) -> None:
    words = "data label-prefs --data arithmetic#4 --output labels.jsonl --dry-run --json"
    said = rlllm(f"{words} --judge http://127.0.0.1:9/v1 --judge-model m")
    assert said.code == 0, said.err
    assert (said.json["pairs"], said.json["judge"]) == ("4", "judge, 8 questions")
    assert not (tmp_path / "labels.jsonl").exists()
    assert rlllm(f"{words} --judge gold --model nowhere").code == 2


@pytest.mark.parametrize(
    "words", ["--data arithmetic#x", "--data arithmetic --max-new-tokens 0", "--data nowhere.jsonl"]
)
def test_values_that_do_not_fit_are_a_usage_error(rlllm: Rlllm, words: str) -> None:
    said = rlllm(f"data label-prefs --judge gold --output x.jsonl {words}")
    assert said.code == 2
    assert "unexpected" not in said.err
