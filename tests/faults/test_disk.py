"""Faults of the disk: one screen with path, cause, what is kept and how to go on; and the run goes on once they are mended."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlllm.core.errors import ExitCode
from rlllm.core.runs import Run
from rlllm_cli.main import run as command_line


def words(model: str, folder: Path, steps: int = 6) -> list[str]:
    given = ["sft", "--model", model, "--data", "arithmetic#64", "data.holdout=0", "--per_device_train_batch_size", "8"]
    return [*given, "--max_steps", str(steps), "--save_steps", "2", "--output-dir", str(folder / "run")]


LIMITS = [100_000, pytest.param(200, marks=pytest.mark.slow), pytest.param(20_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_write_that_the_system_refuses_is_named_and_the_run_goes_on_after_it(
    tiny_model: str, tmp_path: Path, limit: int
) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    program = [sys.executable, "-m", "rlllm_cli", *words(tiny_model, tmp_path)]
    failed = subprocess.run(program, capture_output=True, text=True, preexec_fn=little_room)
    assert failed.returncode == ExitCode.FAILED, failed.stderr
    assert "a file would be larger than this process or file system allows" in failed.stderr
    assert str(tmp_path / "run") in failed.stderr
    assert "hint: no checkpoint was finished; repair that, then the same command with --resume goes on" in failed.stderr
    assert "bug in rlllm" not in failed.stderr
    again = "--resume" if (tmp_path / "run" / "config.json").exists() else "--overwrite"
    if not (tmp_path / "run" / "status.json").exists():
        shutil.rmtree(tmp_path / "run")
    assert command_line([*words(tiny_model, tmp_path), again]) == ExitCode.OK


@pytest.mark.slow
def test_a_directory_that_is_renamed_ends_the_run_and_is_not_made_anew(tiny_model: str, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "rlllm_cli", *words(tiny_model, tmp_path, 100_000)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoints" / "checkpoint-4").exists() and time.monotonic() < end:
        time.sleep(0.02)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == ExitCode.FAILED, said
    assert "the run directory was removed or renamed while the run was under way" in said
    assert not (tmp_path / "run").exists()
    assert Run(tmp_path / "elsewhere").latest_checkpoint() is not None


def test_too_little_room_for_a_checkpoint_is_refused_before_anything_is_trained(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000))
    assert command_line(words(tiny_model, tmp_path)) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "the disk has 100 KB left, and the model with one checkpoint takes " in said
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("settings", "warned"), [([], True), pytest.param(["--save_total_limit", "1"], False, marks=pytest.mark.slow)]
)
def test_a_disk_that_checkpoints_will_fill_is_said_at_the_start(
    nano: str,
    tmp_path: Path,
    settings: list[str],
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line(words(nano, tmp_path)) == ExitCode.OK
    run = Run(tmp_path / "run")
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in run.checkpoints.iterdir()]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(2.5 * max(sizes))))
    capsys.readouterr()
    assert command_line([*words(nano, tmp_path), *settings, "--overwrite"]) == ExitCode.OK
    said = capsys.readouterr().err
    assert ("checkpoints of " in said and "save_total_limit=" in said) == warned


def test_the_estimate_of_a_checkpoint_is_near_its_size(nano: str, tmp_path: Path) -> None:
    from rlllm.training import storage

    sizes: list[tuple[int, int]] = []
    measured = storage._sizes

    def seen(trainer: Any) -> tuple[int, int]:
        sizes.append(measured(trainer))
        return sizes[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_sizes", seen)
        assert command_line(words(nano, tmp_path, 2)) == ExitCode.OK
    run = Run(tmp_path / "run")
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    real = [sum(file.stat().st_size for file in folder.iterdir()) for folder in (run.model, checkpoint)]
    assert [0.8 < guess / size < 1.05 for guess, size in zip(sizes[0], real, strict=True)] == [True, True], (
        sizes,
        real,
    )
