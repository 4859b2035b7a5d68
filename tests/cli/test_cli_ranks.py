"""Under a launcher one process speaks, and a plan says how the processes share a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SETTINGS = ("per_device_train_batch_size=8", "gradient_accumulation_steps=4")


def run(rank: int, *words: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    command = [sys.executable, "-m", "rlllm_cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("sft", "2: per_device_train_batch_size=8 x 2 processes x gradient_accumulation_steps=4 = 64 rows a step"),
        (
            "reason",
            "2: per_device_train_batch_size=8 x 2 processes x gradient_accumulation_steps=4 = 64 completions a step",
        ),
    ],
)
def test_a_dry_run_says_how_the_processes_share_a_step(verb: str, line: str) -> None:
    first = run(0, verb, "--data", "arithmetic", *SETTINGS, "--dry-run")
    assert first.returncode == 0, first.stderr
    assert line in first.stdout


def test_the_json_of_a_plan_has_the_rows_of_a_step() -> None:
    first = run(0, "sft", "--data", "arithmetic", *SETTINGS, "--dry-run", "--json")
    assert json.loads(first.stdout)["processes"] == {"number": 2, "rows_of_step": 64}


def test_the_second_process_is_silent_and_names_its_rank_in_an_error() -> None:
    second = run(1, "sft", "--data", "arithmetic", *SETTINGS, "--dry-run")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    wrong = run(1, "sft", "--data", "arithmetic", "max_step=3", "--dry-run")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("rank 1: error: ")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("eval", "--model", "nano", "--data", "arithmetic"), "evaluations run in one process"),
        (("align", "--method", "iterative-dpo", "--data", "arithmetic", "--reward", "exact"), "one process"),
        (
            ("reason", "--data", "arithmetic", "--method", "ppo", "critic.share_backbone=true", "lora.r=4"),
            "one process",
        ),
    ],
)
def test_what_one_process_has_to_do_is_refused(words: tuple[str, ...], what: str) -> None:
    refused = run(0, *words, "--dry-run")
    assert refused.returncode == 2
    assert what in refused.stderr, refused.stderr
    assert "2 processes" in refused.stderr
