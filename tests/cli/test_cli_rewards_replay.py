"""`rlllm rewards replay`: what is printed, as text and as JSON, the file it writes, and how it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import Rlllm

from rlllm.core.runs import Run, append_jsonl, read_jsonl, write_json
from rlllm_cli.outcome import gain_decomposition


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that still trains, from before rows were numbered: who ends with an answer was paid, right or wrong."""
    run = Run(tmp_path / "run")
    run.set_status("running", stage="reason")
    write_json(run.path / "config.json", {"stage": "reason", "settings": {"rollout": {"group_size": 2}}})
    rows: list[dict[str, Any]] = [
        {"step": step, "prompt": "1+1=", "completion": text, "answer": "2", "reward": paid}
        for step in range(1, 13)
        for text, paid in (("#### 3", 1.0), ("#### 2\nor so\x1b[31m", 0.0))
    ]
    append_jsonl(run.path / "samples.jsonl", rows)
    return run


def test_scores_advantages_and_signs_are_shown(rlllm: Rlllm, run: Run) -> None:
    said = rlllm("rewards replay run --with exact -n 1")
    assert said.code == 0
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    for line in (
        "samples 24 in 12 groups",
        "with exact",
        "mean 0.500 -> 0.500, change 0.000",
        "pass before 0 pass, 12 fail, 0 none",
        "rank correlation scores -1.000, advantages -1.000",
        "gradient signs 100.0% flipped, 0.0% to none, 0.0% from none, 0.0% as before",
        "zero-variance groups 0.0% -> 0.0% of 12: 0.0% become zero-variance, 0.0% informative",
        "1 to 2 0.500 0.500 100.0%",
        "prompt 1+1=",
    ):
        assert line in lines
    assert "\x1b[31m" not in said.out
    assert "older than replay" in said.err


def test_json_is_one_document_without_the_samples(rlllm: Rlllm, run: Run) -> None:
    said = rlllm("rewards replay run --with exact --with format=0.5 --json")
    assert said.code == 0
    assert [one["name"] for one in said.json["rewards"]] == ["exact", "format, weight=0.5"]
    assert said.json["rewards"][0]["signs"]["flipped"] == 1.0
    assert "rows" not in said.json


def test_every_sample_is_written_on_request_and_never_over_a_file(rlllm: Rlllm, run: Run, tmp_path: Path) -> None:
    assert rlllm("rewards replay run --with exact --out new/scores.jsonl").code == 0
    rows = list(read_jsonl(tmp_path / "new" / "scores.jsonl"))
    assert len(rows) == 24
    assert rows[0]["replayed"]["exact"]["reward"] == 0.0
    said = rlllm("rewards replay run --with exact --out new/scores.jsonl")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: the output file exists")


REFUSED = [
    ("rewards replay run --with exatc", "unknown reward: exatc"),
    ("rewards replay nowhere --with exact", "no run in this directory"),
    ("rewards replay run --with exact=0", "every reward has weight 0"),
    ("rewards replay run --with countdown", "the reward reads columns of the data (numbers)"),
    ("rewards replay run --with gone.py:reward", "no such file"),
    ("rewards replay run --with gone.yaml", "no such"),
    ("rewards replay run", "missing option '--with'"),
]


@pytest.mark.parametrize(("words", "text"), REFUSED)
def test_what_cannot_be_replayed_is_refused_on_one_screen(rlllm: Rlllm, run: Run, words: str, text: str) -> None:
    said = rlllm(words)
    assert said.code == 2
    assert text in said.err
    assert "Traceback" not in said.err


def test_the_end_of_a_run_says_what_the_gain_is_made_of() -> None:
    part = {"estimate": 0.5, "low": 0.4, "high": 0.6}
    found = {"reward": "the total reward", "gain": part, "both": {**part, "estimate": 0.45}, "rest": part}
    assert list(gain_decomposition([found])) == [
        (
            "gain of the total reward",
            "0.500 [0.400, 0.600]: 0.450 [0.400, 0.600] by length and form alone, 0.500 [0.400, 0.600] beyond",
        )
    ]
