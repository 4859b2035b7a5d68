"""Two starts in one directory cannot harm each other: the second is refused while the first works, for every verb."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ExitCode
from rlllm_cli.main import run as command_line

LONG = ["--max_steps", "100000", "data.holdout=0", "--save_steps", "2"]
KINDS: dict[str, list[str]] = {
    "sft": ["sft", "--data", "arithmetic#64", *LONG],
    "eval": ["eval", "quickstart", "--model", "nano", "rows=20000", "--no-cache"],
    "sweep": ["sweep", "sft/quickstart", "learning_rate=1e-4,1e-3", "--set", "max_steps=100000"],
    "run": ["run", "demo", "sft.max_steps=100000"],
}


class Started:
    """A command in a process of its own."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.log = folder.with_suffix(".log")
        with self.log.open("w") as log:
            program = [sys.executable, "-m", "rlllm_cli", *words]
            self.process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_for(self, path: Path) -> None:
        end = time.monotonic() + 120
        while not path.exists() and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert path.exists(), self.log.read_text()[-3000:]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Started, list[str]]]:
    """A command that works in a directory, and its words."""
    words = [*KINDS[request.param], "--output-dir", str(tmp_path / "run")]
    first = Started(words, tmp_path / "run")
    yield first, words
    first.end()


def contents(folder: Path) -> dict[str, Any]:
    """What a start writes at its beginning, with the time of each file."""
    paths = [folder / name for name in ("lock.json", "config.json", "recipe.yaml", "status.json")]
    found = [path for path in paths if path.exists()]
    return {path.name: path.read_text() if path.name == "lock.json" else path.stat().st_mtime_ns for path in found}


@pytest.mark.parametrize(
    "started",
    ["sft", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "sft")],
    indirect=True,
)
def test_a_second_start_is_refused_and_touches_nothing(
    started: tuple[Started, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, words = started
    folder = tmp_path / "run"
    first.wait_for(folder / "lock.json")
    first.wait_for(folder / ("sft/status.json" if words[0] == "run" else "status.json"))
    time.sleep(1)
    before = contents(folder)
    for switch in ("--resume", "--overwrite"):
        assert command_line([*words, switch]) == ExitCode.USAGE
        said = capsys.readouterr().err
        assert "another process works in the run directory" in said
        assert f"process {first.process.pid} on " in said
    assert first.process.poll() is None
    assert contents(folder) == before


@pytest.mark.parametrize("started", ["sft"], indirect=True)
def test_after_a_kill_the_listing_says_so_and_a_resume_takes_over(
    started: tuple[Started, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, words = started
    first.wait_for(tmp_path / "run" / "checkpoints" / "checkpoint-2" / "manifest.json")
    assert command_line(["runs", "ls", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "running"
    first.end()
    assert command_line(["runs", "ls", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "killed"
    second = Started([*words, "--resume"], tmp_path / "second")
    try:
        second.wait_for(tmp_path / "run" / "lock.json")
        end = time.monotonic() + 60
        while "takes over" not in second.log.read_text() and time.monotonic() < end:
            time.sleep(0.05)
        assert f"process {first.process.pid} on " in second.log.read_text()
    finally:
        second.end()
