"""The lock of a run directory: of two living processes one is refused, and a dead one's lock is taken over and said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlllm.core import run_lock
from rlllm.core.errors import RunDirectoryError, RunLostError
from rlllm.core.runs import Run

HOLD = """
import sys, time
from pathlib import Path
from rlllm.core import run_lock
run_lock.take(Path(sys.argv[1]), print)
print("held", flush=True)
time.sleep(600)
"""
TAKE = """
import sys
from pathlib import Path
from rlllm.core import run_lock
from rlllm.core.errors import RunDirectoryError
sys.stdin.readline()
try:
    run_lock.take(Path(sys.argv[1]), lambda text: None)
    print("held", flush=True)
    sys.stdin.readline()
except RunDirectoryError:
    print("refused", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    run_lock.release(tmp_path)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of the folder."""
    process = started(HOLD, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def started(code: str, folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def written(folder: Path, **facts: Any) -> None:
    """A lock as a process of another place has left it."""
    (folder / run_lock.LOCK).write_text(json.dumps({"host": "far", "machine": "m", "pid": 1, "started": "5", **facts}))


def test_a_second_process_is_told_who_works_there_and_how_to_end_it(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(RunDirectoryError, match="another process works in the run directory") as caught:
        run_lock.take(folder, print)
    assert f"process {holder.pid} on " in str(caught.value.given)
    assert f"kill {holder.pid}" in str(caught.value.hint)
    assert run_lock.is_held(folder)


def test_the_lock_of_a_killed_process_is_taken_over_and_that_is_said(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    assert not run_lock.is_held(folder)
    said: list[str] = []
    run_lock.take(folder, said.append)
    assert [f"process {holder.pid}" in text and "takes over" in text for text in said] == [True]
    assert run_lock.is_held(folder)


def test_a_process_that_was_killed_and_not_yet_waited_for_is_dead(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert not run_lock.is_held(folder)


def test_another_process_with_the_number_of_a_dead_one_is_not_taken_for_it(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    facts = json.loads((folder / run_lock.LOCK).read_text())
    (folder / run_lock.LOCK).write_text(json.dumps({**facts, "started": "1"}))
    assert not run_lock.is_held(folder)
    run_lock.take(folder, print)


def test_of_many_that_find_a_dead_lock_at_once_one_gets_it(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    many = [started(TAKE, folder) for _ in range(6)]
    for process in many:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = []
    for process in many:
        assert process.stdout is not None
        said.append(process.stdout.readline())
    for process in many:
        process.communicate("\n")
    assert sorted(said) == ["held\n"] + ["refused\n"] * 5


def test_two_threads_of_one_process_are_two(folder: Path) -> None:
    run_lock.take(folder, print)
    with pytest.raises(RunDirectoryError, match="this process already works in the run directory"):
        run_lock.take(folder, print)
    run_lock.release(folder)
    run_lock.take(folder, print)


def test_a_silent_holder_on_another_machine_is_taken_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "_SILENT_SECONDS", 0.6)
    written(folder)
    said: list[str] = []
    run_lock.take(folder, said.append)
    assert ["waiting" in said[0], "process 1 on far" in said[1]] == [True, True]


def test_one_on_another_machine_that_touches_its_lock_is_alive(folder: Path) -> None:
    written(folder)
    timer = threading.Timer(0.3, os.utime, [folder / run_lock.LOCK])
    timer.start()
    with pytest.raises(RunDirectoryError, match="another process works") as caught:
        run_lock.take(folder, lambda text: None)
    timer.join()
    assert "ssh far kill 1" in str(caught.value.hint)


@pytest.mark.parametrize("content", ["", "[]", "{", "\0\0"])
def test_a_damaged_lock_that_nobody_touches_is_taken_over(
    folder: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "_SILENT_SECONDS", 0.2)
    (folder / run_lock.LOCK).write_text(content)
    run_lock.take(folder, lambda text: None)
    assert run_lock.is_held(folder)


def test_a_living_holder_touches_its_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "_BEAT_SECONDS", 0.05)
    run_lock.take(folder, print)
    os.utime(folder / run_lock.LOCK, (1, 1))
    deadline = threading.Event()
    for _ in range(100):
        if (folder / run_lock.LOCK).stat().st_mtime > 1 or deadline.wait(0.05):
            break
    assert (folder / run_lock.LOCK).stat().st_mtime > 1


def test_on_a_file_system_without_links_the_lock_is_made_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run_lock.take(folder, print)
    assert json.loads((folder / run_lock.LOCK).read_text())["pid"] == os.getpid()
    with pytest.raises(FileExistsError):
        (folder / run_lock.LOCK).open("x")


def test_a_run_whose_directory_is_removed_or_renamed_writes_nothing_more(tmp_path: Path) -> None:
    for change in (shutil.rmtree, lambda path: path.rename(tmp_path / "elsewhere")):
        run = Run(tmp_path / "run")
        run.path.mkdir()
        run_lock.take(run.path, print)
        change(run.path)
        with pytest.raises(RunLostError, match="removed or renamed"):
            run.set_status("done")
        assert not run.path.exists()
        run.path.mkdir()  # another directory of that name
        with pytest.raises(RunLostError, match="removed or renamed"):
            run.append("metrics.jsonl", [{"step": 1}])
        assert list(run.path.iterdir()) == []
        run_lock.release(run.path)
        run.path.rmdir()


def test_a_run_that_was_taken_over_writes_nothing_more(folder: Path) -> None:
    run = Run(folder)
    run_lock.take(folder, print)
    run.set_status("running")
    written(folder)
    with pytest.raises(RunLostError, match="process 1 on far has taken over"):
        run.set_status("done")
    assert run.status["state"] == "running"


def test_a_lock_that_somebody_removed_by_hand_is_made_again(folder: Path) -> None:
    run_lock.take(folder, print)
    (folder / run_lock.LOCK).unlink()
    Run(folder).set_status("running")
    assert run_lock.is_held(folder)
