"""Ray's job without a cluster: what one machine starts, and what a cluster that is too small is told."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from rlllm.launch.ray_job import Machine, too_small

SHOW = "import os; print({name: os.environ.get(name) for name in ('OMP_NUM_THREADS', 'RLLLM_PARENT')}, file=open('seen', 'w'))"
WAIT = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
pathlib.Path("ready").touch()
time.sleep(600)
"""


@pytest.mark.parametrize("threads", [None, 3])
def test_processes_have_the_threads_of_the_setting_and_not_rays(
    threads: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    assert Machine(str(tmp_path), threads).run([sys.executable, "-c", SHOW]) == 0
    shown = {"OMP_NUM_THREADS": threads and str(threads), "RLLLM_PARENT": str(os.getpid())}
    assert (tmp_path / "seen").read_text().strip() == str(shown)


def test_a_signal_reaches_the_processes_and_their_exit_code_comes_back(tmp_path: Path) -> None:
    machine, codes = Machine(str(tmp_path), None), []

    def as_in_an_actor() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        codes.append(machine.run([sys.executable, "-c", WAIT]))

    thread = threading.Thread(target=as_in_an_actor)
    thread.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    machine.send(signal.SIGINT)
    thread.join()
    assert codes == [7]
    machine.send(signal.SIGTERM)  # to nobody


def test_a_cluster_that_is_too_small_is_told_what_it_has() -> None:
    nodes = {"10.0.0.2": {"CPU": 64.0, "GPU": 8.0, "memory": 1e12}, "10.0.0.1": {"CPU": 4.0}}
    error = too_small([{"CPU": 8, "GPU": 8}] * 2, nodes)
    assert error.what.startswith("1 of the 2 machines")
    assert error.given == "2 machines, each with 8 CPU and 8 GPU"
    assert error.exists == ["10.0.0.1 with 4 CPU and 0 GPU", "10.0.0.2 with 64 CPU and 8 GPU"]
    assert "launch.processes" in str(error.hint)
