"""A process that fails or is killed is known to the others, by name, and the run's status says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlllm.core.errors import RewardError
from rlllm.core.runs import Run
from rlllm.launch.process_group import Processes

OTHER = """
import sys, time
from pathlib import Path
from rlllm.core.errors import RewardError
from rlllm.launch.process_group import Processes
process = Processes(Path(sys.argv[1]))
if sys.argv[2] == "fails":
    process.post_failure(RewardError("the sandbox is full"))
if sys.argv[2] == "interrupted":
    process.post_failure(KeyboardInterrupt())
if sys.argv[2] == "ends":
    process.stop()
print("here", flush=True)
time.sleep(600 if sys.argv[2] == "lives" else 0)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "run")
    made.path.mkdir()
    made.set_status("running", stage="sft")
    return made


@pytest.fixture(autouse=True)
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.fixture
def other(run: Run) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts of other processes go in here, and are ended."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(run: Run, rank: int, how: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", OTHER, str(run.path), how]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "RANK": str(rank)})
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def test_a_killed_process_is_named_and_the_status_says_so(run: Run, other: list[subprocess.Popen[str]]) -> None:
    own = Processes(run.path)
    other.append(start(run, 1, "lives"))
    assert own.loss() is None
    other[0].send_signal(signal.SIGKILL)
    loss = own.loss(within=20)
    assert loss is not None
    assert loss.what.startswith(f"rank 1 of 2 ended without a word (process {other[0].pid} ")
    own.record_loss()
    assert (run.status["state"], run.status["error"]) == ("failed", loss.what)


def test_the_first_that_is_left_records_the_end_of_rank_0(
    run: Run, other: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    other.append(start(run, 0, "lives"))
    monkeypatch.setenv("RANK", "1")
    own = Processes(run.path)
    own.record_loss()
    assert run.status["state"] == "running"
    other[0].kill()
    other[0].wait()
    own.record_loss()
    assert run.status["error"].startswith("rank 0 of 2 ended without a word")


@pytest.mark.parametrize(
    ("how", "words"),
    [("fails", "rank 1 of 2 failed: RewardError: the sandbox is full"), ("interrupted", "rank 1 of 2 was interrupted")],
)
def test_a_process_says_what_it_failed_by(run: Run, other: list[subprocess.Popen[str]], how: str, words: str) -> None:
    own = Processes(run.path)
    other.append(start(run, 1, how))
    loss = own.loss(within=20)
    assert loss is not None
    assert loss.what == words


def test_a_process_that_ended_as_it_should_is_no_loss(run: Run, other: list[subprocess.Popen[str]]) -> None:
    own = Processes(run.path)
    other.append(start(run, 1, "ends"))
    other[0].wait()
    assert own.lost() == {}


def test_what_was_recorded_first_stays(run: Run, other: list[subprocess.Popen[str]]) -> None:
    run.set_status("failed", error="no space left")
    own = Processes(run.path)
    other.append(start(run, 1, "fails"))
    own.record_loss()
    assert run.status["error"] == "no space left"


def test_a_process_waits_for_the_end_of_rank_0_which_writes_the_verdict(
    run: Run, other: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    other.append(start(run, 0, "lives"))
    monkeypatch.setenv("RANK", "1")
    own = Processes(run.path)
    own.post_failure(RewardError("the sandbox is full"))
    assert json.loads((run.path / "logs" / "rank-1.json").read_text())["error"] == "RewardError: the sandbox is full"
    other[0].kill()
    began = time.monotonic()
    own.wait_for_main()
    assert time.monotonic() - began < 15
