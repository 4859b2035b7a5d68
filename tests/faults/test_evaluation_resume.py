"""An evaluation killed between blocks goes on where it stopped, and ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.runs import Run, write_json

EVALUATE = """
import json, os, signal, sys
import rlllm
from rlllm.core.events import NullProgress

class Killer(NullProgress):
    def phase(self, name):
        print(name, flush=True)
        if name == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

rlllm.evaluate(progress=Killer(), resume=sys.argv[3] == "resume", **json.loads(sys.argv[1]))
"""
SETTINGS: dict[str, Any] = {
    "model": "nano",
    "tasks": ["arithmetic", "lists"],
    "rows": 6,
    "samples": 2,
    "cache": False,
    "sampling": {"max_new_tokens": 8, "batch_size": 4},
}
PLACES = ["arithmetic: block 2 of 3", "lists: block 3 of 3"]


def start(folder: Path, until: str, resume: str = "") -> subprocess.CompletedProcess[str]:
    settings = json.dumps({**SETTINGS, "output_dir": str(folder)})
    command = [sys.executable, "-c", EVALUATE, settings, until, resume]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return rlllm.evaluate(output_dir=tmp_path_factory.mktemp("whole") / "run", **SETTINGS)


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_evaluation_resumes_to_the_same_results(uninterrupted: Run, tmp_path: Path, place: str) -> None:
    folder = tmp_path / "run"
    assert start(folder, place).returncode == -signal.SIGKILL
    kept = (folder / "completions.jsonl").read_bytes()
    (folder / "completions.jsonl").write_bytes(kept + b'{"key": "half a li')
    run = rlllm.evaluate(output_dir=folder, resume=True, **SETTINGS)
    assert run.ok
    for name in ("results.json", "items.jsonl"):
        assert (folder / name).read_bytes() == (uninterrupted.path / name).read_bytes()
    assert (folder / "completions.jsonl").read_bytes().startswith(kept)
    assert len((folder / "completions.jsonl").read_text().splitlines()) == 6


def test_a_resume_that_draws_nothing_keeps_what_the_run_computed_on(uninterrupted: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(uninterrupted.path, tmp_path / "run")
    (folder / "results.json").unlink()  # as a kill after the last completion leaves it
    write_json(folder / "status.json", {"state": "running", "stage": "eval"})
    run = rlllm.evaluate(output_dir=folder, resume=True, **SETTINGS)
    for name in ("env.json", "results.json"):
        assert (run.path / name).read_bytes() == (uninterrupted.path / name).read_bytes()
    assert run.config["hardware"] == uninterrupted.config["hardware"]
