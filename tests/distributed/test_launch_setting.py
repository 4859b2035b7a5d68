"""The setting `launch`, run: two processes on CPUs, a whole model at the end, and a failed rank by its name."""

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

SHORT = ["max_steps=3", "eval.rows=0", "data.rows=64"]


def started(run: Path, *words: str) -> subprocess.Popen[str]:
    """A command line, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rlllm_cli", *words, "--output-dir", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def finished(run: Path, *words: str) -> tuple[int, str, str]:
    process = started(run, *words)
    out, err = process.communicate(timeout=900)
    return process.returncode, out, err


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp", "deepspeed-zero2", "deepspeed-zero3"])
def test_a_launched_run_has_the_losses_of_one_process_and_a_whole_model(
    engine: str, tmp_path: Path, tiny_model: str
) -> None:
    if engine.startswith("deepspeed"):
        pytest.importorskip("deepspeed")
    words = ["sft", "quickstart", "--model", tiny_model, *SHORT]
    code, _, err = finished(tmp_path / "one", *words, "per_device_train_batch_size=8")
    assert code == 0, err
    code, out, err = finished(tmp_path / "two", *words, "per_device_train_batch_size=4", f"launch={engine}", "--json")
    assert code == 0, err
    assert json.loads(out)["ok"]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    from safetensors.torch import load_file

    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert {name: weight.shape for name, weight in one.items()} == {name: weight.shape for name, weight in two.items()}
    for name, weight in one.items():
        assert two[name] == pytest.approx(weight, abs=1e-4), name
    for rank in (0, 1):
        assert (tmp_path / "two" / "logs" / f"rank-{rank}.log").exists()


def kill_rank_1(process: subprocess.Popen[str], run: Path, reached: str) -> str:
    """Kill rank 1 once the run has written a file; returns what the command said on its standard error."""
    try:
        deadline = time.monotonic() + 600
        while not (run / reached).exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(json.loads((run / "logs" / "rank-1.json").read_text())["pid"], signal.SIGKILL)
        _, err = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            process.kill()
    return err


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_by_its_name(tmp_path: Path, tiny_model: str) -> None:
    run = tmp_path / "run"
    words = ["sft", "quickstart", "--model", tiny_model, "max_steps=100000", "eval.rows=0", "launch=ddp"]
    process = started(run, *words)
    err = kill_rank_1(process, run, "metrics.jsonl")
    assert process.returncode == 1
    assert "rank 1 of 2 was ended by SIGKILL" in err
    assert "rank-1.log" in err
    assert json.loads((run / "status.json").read_text())["state"] == "failed"


@pytest.mark.slow
def test_a_shared_model_goes_on_after_a_kill_with_two_processes_and_with_one(tmp_path: Path, tiny_model: str) -> None:
    words = ["sft", "quickstart", "--model", tiny_model, "max_steps=60", "save_steps=2", "eval.rows=0", "data.rows=64"]
    shared = [*words, "per_device_train_batch_size=4", "launch=fsdp"]
    process = started(tmp_path / "two", *shared)
    err = kill_rank_1(process, tmp_path / "two", "checkpoints/checkpoint-4/manifest.json")
    assert process.returncode == 1
    assert "rank 1 of 2 was ended by SIGKILL" in err
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    code, _, err = finished(tmp_path / "whole", *words, "per_device_train_batch_size=8")
    assert code == 0, err
    for name, alone in (("two", []), ("one", ["launch.processes=1"])):
        code, _, err = finished(tmp_path / name, *shared, *alone, "--resume")
        assert code == 0, err
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "whole"), abs=1e-4), name
