"""A command line in a process of its own, and what its run has written so far."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from launched import LIMIT

from rlllm.core.runs import Run

ENDLESS = ["sft", "quickstart", "max_steps=1000000", "save_steps=1000000", "eval.rows=0", "logging_steps=1"]
SHORT = ["sft", "quickstart", "max_steps=3", "eval.rows=0", "data.rows=64", "logging_steps=1"]


def start(run: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """`rlllm` with these words, its output to be read; in a session of its own, as a terminal's."""
    return subprocess.Popen(
        [sys.executable, "-m", "rlllm_cli", *words, "--output-dir", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; returns the exit code and what was said on stderr."""
    try:
        _, said = process.communicate(timeout=LIMIT)
    finally:
        if process.poll() is None:
            process.kill()
    return process.returncode, said


def steps(run: Path) -> int:
    rows = Run(run).metrics()
    return int(rows[-1]["step"]) if rows else 0


def wait_for_step(process: subprocess.Popen[str], run: Path, step: int) -> None:
    """Until the run has logged a step; kills the process where it ends before, or hangs."""
    deadline = time.monotonic() + LIMIT
    while steps(run) < step:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate()[1][-4000:])
        time.sleep(0.2)


def kill_rank(run: Path, rank: int) -> None:
    os.kill(json.loads((run / "logs" / f"rank-{rank}.json").read_text())["pid"], signal.SIGKILL)


def assert_interrupted_with_a_checkpoint(run: Path, said: str) -> int:
    """Returns the checkpoint's step, which is the last that was made."""
    assert Run(run).status["state"] == "interrupted", said[-4000:]
    last = Run(run).latest_checkpoint()
    assert last is not None, said[-4000:]
    step = int(last.name.rsplit("-", 1)[1])
    assert step == steps(run)
    return step


def assert_ends_by_a_killed_rank(process: subprocess.Popen[str], run: Path, step: int) -> None:
    """Kill rank 1 of a run of two processes once it has made a step: the command ends by its name, and the run has failed."""
    wait_for_step(process, run, step)
    kill_rank(run, 1)
    code, said = end(process)
    assert code == 1
    assert "rank 1 of 2 was ended by SIGKILL" in said
    assert "rank-1.log" in said
    assert Run(run).status["state"] == "failed"
