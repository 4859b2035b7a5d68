"""A file system that is really small, full or read-only: a tmpfs in a mount namespace of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_files import differing_weights, learned_metrics, optimizer_differs

from rlllm.core.errors import ExitCode
from rlllm.core.runs import Run

TRAINING = ["sft", "quickstart", "eval.rows=16", "max_steps=12", "save_steps=4", "save_total_limit=1"]


class Disk:
    """A tmpfs that only the processes started by `begin` see where it is mounted.

    Args:
        place: where.
        size: in the words of `mount`.
    """

    def __init__(self, place: Path, size: str) -> None:
        place.mkdir()
        self.place = place
        mount = 'mount -t tmpfs -o size="$0" none "$1" && echo mounted && exec sleep 3600'
        words = ["unshare", "--mount", "bash", "-c", mount, size, str(place)]
        self.holder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.holder.stdout is not None
        assert self.holder.stderr is not None
        if self.holder.stdout.readline() != "mounted\n":
            pytest.skip(f"nothing can be mounted here: {self.holder.stderr.read().strip()}")
        self._inside = ["nsenter", "--mount", "--target", str(self.holder.pid), "--"]

    @property
    def files(self) -> Path:
        """The tmpfs, as it is reached from outside of the namespace."""
        return Path(f"/proc/{self.holder.pid}/root{self.place}")

    @property
    def run(self) -> Run:
        return Run(self.files / "run")

    def begin(self, words: list[str], *more: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "rlllm_cli", *words, "--output-dir", str(self.place / "run"), *more]
        return subprocess.Popen([*self._inside, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def done(self, words: list[str], *more: str) -> tuple[int, str, str]:
        process = self.begin(words, *more)
        said, errors = process.communicate(timeout=900)
        return process.returncode, said, errors

    def mounted_again(self, option: str) -> bool:
        """Mount it once more, as `ro` or `rw`. False while a file is being written."""
        return not subprocess.run(
            [*self._inside, "mount", "-o", f"remount,{option}", str(self.place)], capture_output=True, check=False
        ).returncode


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[Disk]]:
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("unshare and nsenter are not here")
    made: list[Disk] = []
    yield made
    for disk in made:
        disk.holder.kill()
        disk.holder.communicate()


def mounted(disks: list[Disk], place: Path, size: str) -> Disk:
    disks.append(Disk(place, size))
    return disks[-1]


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not (file.is_file() and file.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_dry_run_refuses_a_disk_that_is_too_small_or_read_only(disks: list[Disk], tmp_path: Path) -> None:
    small = mounted(disks, tmp_path / "small", "4m")
    code, _, errors = small.done(TRAINING, "--dry-run")
    assert code == ExitCode.USAGE
    assert "error: the disk has 4 MB left, and the model with one checkpoint takes 14 MB" in errors
    assert "hint: make room, or choose an --output-dir on another disk; save_strategy=no keeps no checkpoints" in errors
    assert small.mounted_again("ro")
    code, _, errors = small.done(TRAINING, "--dry-run")
    assert code == ExitCode.USAGE
    assert f"error: the file system is read-only: {small.place} cannot be written to" in errors


def test_a_dry_run_warns_of_a_disk_that_will_be_full(disks: list[Disk], tmp_path: Path) -> None:
    code, said, errors = mounted(disks, tmp_path / "small", "20m").done(
        [word for word in TRAINING if word != "save_total_limit=1"], "--dry-run", "--json"
    )
    assert code == ExitCode.OK, errors
    assert json.loads(said)["room"].startswith(
        "3 checkpoints of 11 MB and the model take 35 MB, and the disk has 21 MB"
    )


def equal_after_resume(disk: Disk, folder: Path) -> None:
    """Resume on the disk, train the same undisturbed in a folder, and compare to the bit."""
    code, _, errors = disk.done(TRAINING, "--resume")
    assert code == ExitCode.OK, errors
    whole = [sys.executable, "-m", "rlllm_cli", *TRAINING, "--output-dir", str(folder / "whole")]
    assert subprocess.run(whole, capture_output=True, timeout=900, check=False).returncode == ExitCode.OK
    run, other = disk.run, Run(folder / "whole")
    assert learned_metrics(run) == learned_metrics(other)
    assert differing_weights(run, other) == []
    assert not optimizer_differs(run, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ("metrics.jsonl", "no checkpoint was finished"),
        ("checkpoints/checkpoint-4/manifest.json", "checkpoint-4 is whole"),
    ],
)
def test_a_disk_that_fills_up_during_training_ends_the_run_and_with_room_it_goes_on_to_the_same_bits(
    disks: list[Disk], tmp_path: Path, after: str, kept: str
) -> None:
    disk = mounted(disks, tmp_path / "disk", "40m")
    process = disk.begin(TRAINING)
    wait_for(disk.run.path / after, process)
    filling = subprocess.run(
        ["cp", "/dev/zero", str(disk.files / "other")], capture_output=True, text=True, check=False
    )
    assert "No space left on device" in filling.stderr
    _, errors = process.communicate(timeout=120)
    assert process.returncode == ExitCode.FAILED, errors
    shown = errors[errors.index("error: ") :]
    assert shown.startswith(f"error: the disk is full: {disk.place / 'run'}")
    assert (
        f"hint: {kept}; make room (save_total_limit=1 keeps one checkpoint), then the same command with --resume"
        in shown
    )
    assert len(shown.splitlines()) < 8
    assert "Traceback" not in errors
    (disk.files / "other").unlink()
    equal_after_resume(disk, tmp_path)


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_ends_the_run_and_mended_it_goes_on_to_the_same_bits(
    disks: list[Disk], tmp_path: Path
) -> None:
    disk = mounted(disks, tmp_path / "disk", "60m")
    process = disk.begin(TRAINING)
    wait_for(disk.run.path / "checkpoints/checkpoint-4/manifest.json", process)
    while not disk.mounted_again("ro"):
        assert process.poll() is None
    _, errors = process.communicate(timeout=120)
    assert process.returncode == ExitCode.FAILED, errors
    shown = errors[errors.index("error: ") :]
    assert shown.startswith(f"error: the file system is read-only: {disk.place / 'run'}")
    assert "is whole; repair that, then the same command with --resume goes on" in shown
    assert len(shown.splitlines()) < 8
    assert "Traceback" not in errors
    assert disk.mounted_again("rw")
    equal_after_resume(disk, tmp_path)
