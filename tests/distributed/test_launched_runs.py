"""A run of two processes that loses one ends by its name, keeps its checkpoint, and goes on with two processes or with one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launched import LIMIT, launch, write_rewards

from rlllm.core.runs import Run


def words(model: str, output: Path, reward: str, steps: int = 300) -> list[str]:
    return [
        *("-m", "rlllm_cli", "reason", "--model", model, "--data", "arithmetic", "data.rows=64", "data.holdout=0"),
        *("eval.rows=0", f"max_steps={steps}", "save_steps=2", "logging_steps=1", "per_device_train_batch_size=8"),
        *("gradient_accumulation_steps=1", "num_generations=4", "max_completion_length=6", "stop_when_flat=0"),
        *(f'rewards=[{{"name":"{reward}","deadline":0}}]', "--output-dir", str(output)),
    ]


def saved(run: Run) -> int:
    manifests = run.checkpoints.glob("checkpoint-*/manifest.json")
    return max((int(path.parent.name.rsplit("-", 1)[1]) for path in manifests), default=0)


def wait_for_checkpoint(process: subprocess.Popen[str], run: Run, step: int) -> None:
    end = time.monotonic() + LIMIT
    while saved(run) < step:
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < end
        time.sleep(0.05)


def pid_of(run: Run, rank: int) -> int:
    return int(json.loads((run.path / "logs" / f"rank-{rank}.json").read_text())["pid"])


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_by_its_name_and_it_resumes(tiny_model: str, tmp_path: Path, rank: int) -> None:
    run, reward = Run(tmp_path / "run"), f"{write_rewards(tmp_path)}:vowels"
    process = launch(words(tiny_model, run.path, reward, steps=60), 2)
    wait_for_checkpoint(process, run, 4)
    os.kill(pid_of(run, rank), signal.SIGKILL)
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert run.status["state"] == "failed"
    assert run.status["error"].startswith(f"rank {rank} of 2 ended without a word")
    if rank == 1:
        assert "rank 1 of 2 ended without a word" in said
    shutil.copytree(run.path, tmp_path / "alone")
    again = launch([*words(tiny_model, run.path, reward, steps=60), "--resume"], 2)
    said, _ = again.communicate(timeout=LIMIT)
    assert (again.returncode, run.status["state"]) == (0, "done"), said[-3000:]
    assert [row["step"] for row in run.metrics()] == list(range(1, 61))
    alone = Run(tmp_path / "alone")
    one = [sys.executable, *words(tiny_model, alone.path, reward, steps=60), "--resume"]
    ended = subprocess.run(one, capture_output=True, text=True, timeout=LIMIT)
    assert (ended.returncode, alone.status["state"]) == (0, "done"), ended.stderr[-3000:]
    assert alone.config["trl"]["gradient_accumulation_steps"] == 2
    assert {len([row for row in alone.samples() if row["step"] == step]) for step in range(1, 61)} == {16}


@pytest.mark.slow
def test_sigterm_saves_after_one_and_the_same_step(tiny_model: str, tmp_path: Path) -> None:
    run, reward = Run(tmp_path / "run"), f"{write_rewards(tmp_path)}:vowels"
    process = launch(words(tiny_model, run.path, reward), 2)
    wait_for_checkpoint(process, run, 2)
    process.terminate()
    said, _ = process.communicate(timeout=LIMIT)
    assert run.status["state"] == "interrupted", said[-3000:]
    last = run.latest_checkpoint()
    assert last is not None
    assert {path.name for path in last.glob("rng_state_*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    assert int(last.name.rsplit("-", 1)[1]) == run.metrics()[-1]["step"]


@pytest.mark.slow
def test_an_error_of_one_process_is_the_error_of_the_run(tiny_model: str, tmp_path: Path) -> None:
    run, rewards = Run(tmp_path / "run"), write_rewards(tmp_path)
    process = launch(words(tiny_model, run.path, f"{rewards}:full_on_rank_1"), 2)
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert run.status["state"] == "failed"
    assert "rank 1 of 2 failed: RewardError" in run.status["error"]
    assert "the sandbox is full" in said
    assert "the sandbox is full" in (run.path / "logs" / "rank-1.log").read_text()
