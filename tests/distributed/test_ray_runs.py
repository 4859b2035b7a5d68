"""`launch=ray` on a real Ray of one machine: one that the run starts, and one that `ray start` did."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import (
    ENDLESS,
    SHORT,
    assert_ends_by_a_killed_rank,
    assert_interrupted_with_a_checkpoint,
    end,
    start,
    steps,
    wait_for_step,
)
from launched import LIMIT

from rlllm.core.runs import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs rlllm[ray]"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="Ray gives each process a CPU of its own"),
]
TWO = ["launch.name=ray", "launch.processes=2", "launch.gpus_per_node=0"]


@pytest.fixture(autouse=True)
def folder_of_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Ray's own files, with a short name, since it makes sockets there; no token in the home of who runs the tests."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        yield Path(folder)


@pytest.fixture
def address(folder_of_ray: Path) -> Iterator[str]:
    """Of a cluster of this machine, with two CPUs, however many there are."""
    said = folder_of_ray / "head.log"
    options = ["--num-cpus=2", "--port=0", "--include-dashboard=false", "--disable-usage-stats"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options]
    with said.open("w") as file:
        head = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + LIMIT
        while not (found := re.search(r"--address='(\S+)'", said.read_text())):
            assert head.poll() is None, said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield found[1]
    finally:
        head.terminate()
        head.wait(timeout=60)


def test_a_run_starts_a_ray_of_its_own(tmp_path: Path, tiny_model: str) -> None:
    run = tmp_path / "run"
    code, said = end(start(run, *SHORT, "--model", tiny_model, *TWO))
    assert code == 0, said[-4000:]
    assert (Run(run).status["state"], steps(run)) == ("done", 3)
    assert (run / "model" / "model.safetensors").exists()
    assert "finished" in (run / "logs" / "rank-0.log").read_text()
    assert (run / "logs" / "rank-1.log").exists()


def test_a_run_on_a_cluster_is_interrupted_goes_on_and_ends_by_a_killed_rank(
    tmp_path: Path, tiny_model: str, address: str
) -> None:
    run, words = tmp_path / "run", [*ENDLESS, "--model", tiny_model, *TWO, f"launch.address={address}"]
    process = start(run, *words)
    wait_for_step(process, run, 2)
    process.send_signal(signal.SIGTERM)
    code, said = end(process)
    saved = assert_interrupted_with_a_checkpoint(run, said)
    assert code == 130
    process = start(run, *words, "--resume")
    assert_ends_by_a_killed_rank(process, run, saved + 2)


def test_a_cluster_that_is_too_small_is_an_error_and_no_wait(tmp_path: Path, tiny_model: str, address: str) -> None:
    words = ["launch.name=ray", "launch.processes=64", "launch.gpus_per_node=0", f"launch.address={address}"]
    code, said = end(start(tmp_path / "run", *SHORT, "--model", tiny_model, *words))
    assert code == 2, said[-4000:]
    assert "one machine with 64 CPU" in said
    assert "with 2 CPU" in said
    assert "ray start --address" in said
