"""The first process of a launched run: it starts the processes, shows rank 0's log, hands signals on, and says who failed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from rlllm.core.errors import ConfigError, ExitCode, RlllmError
from rlllm.core.events import ProgressCallback
from rlllm.core.runs import Run, read_json
from rlllm.core.stalled import stalled_error
from rlllm.core.stop_signals import caught, put_back
from rlllm.core.terminal_text import visible
from rlllm.launch.agent import FAILURES, PARENT, log_of_machine
from rlllm.launch.plan import FOLDER, LaunchPlan, refuse_missing
from rlllm.launch.ray_job import REFUSED

_LOOK_SECONDS = 0.2
_SAME_SIGNAL_SECONDS = 1.0
"""Signals in so short a time are one: `timeout` sends its own to the program and to its group."""
_QUEUED_SECONDS = 15.0
"""How long a Slurm job may wait before its reason is told."""
_LAST_LINES = 12
"""Lines of a failed process's log that its error shows."""


class LaunchError(RlllmError):
    """A process of a launched run failed, or the launcher did."""


def supervise(plan: LaunchPlan, run: Run, progress: ProgressCallback) -> None:
    """Write the files of a launch, start it, and wait for its end.

    Args:
        plan: what to start.
        run: its directory, opened for this start.
        progress: gets notes.

    Raises:
        ConfigError: a package or program is missing, or the cluster could never run the launch.
        LaunchError: a process failed. Names its rank, exit code or signal, and log.
        StalledError: the watchdog of a process ended it.
    """
    refuse_missing(plan.launch)
    folder = run.path / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in plan.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (run.path / "logs").mkdir(exist_ok=True)
    started = _Started(plan, folder)
    with started.signals(progress), _shown(log_of_machine(run.path, 0)):
        code = started.wait(progress)
    if not code and not plan.launch.wait:
        return
    if (folder / REFUSED).exists():
        raise ConfigError(**read_json(folder / REFUSED))
    failed = failures(run.path)
    if any(row["exitcode"] == ExitCode.STALLED for row in failed):
        raise stalled_error(run, run.path / "logs", str(run.status.get("error", "the run made no progress")))
    # a job that is cancelled while it waits is no failure to Slurm
    if code or failed or run.status.get("state") in ("queued", "running", "unknown"):
        error = _error(plan, run, failed, code, started.stopped)
        if run.status.get("state") in ("running", "unknown"):
            run.set_status("failed", error=error.what)
        raise error


class _Started:
    """A launch under way.

    Args:
        plan: what was started.
        folder: of its files.
    """

    def __init__(self, plan: LaunchPlan, folder: Path) -> None:
        self.plan = plan
        self.job = ""
        """Number of a Slurm job."""
        self.stopped = 0
        """Signals that came for the run."""
        self._last = float("-inf")
        slurm = plan.launch.name == "slurm"
        log = (folder / "launcher.log").open("w")
        try:
            self.process = subprocess.Popen(
                plan.command,
                env={**os.environ, PARENT: str(os.getpid())} if not slurm else None,
                stdout=subprocess.PIPE if slurm else log,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C in the terminal comes through this process alone
            )
        except OSError as error:
            raise LaunchError(f"cannot start {plan.command[0]}: {error.strerror}", given=plan.command[0]) from error

    def wait(self, progress: ProgressCallback) -> int:
        """Wait for the end; returns the launcher's exit code."""
        if self.process.stdout is not None:
            self.job = self.process.stdout.readline().strip().partition(";")[0]
            if self.job:
                progress.note(f"Slurm job {self.job}; squeue --job {self.job} shows where it is")
                with suppress(subprocess.TimeoutExpired):
                    return self.process.wait(_QUEUED_SECONDS)
                if reason := self._queued():
                    progress.note(f"Slurm job {self.job} waits: {reason}")
        return self.process.wait()

    def _queued(self) -> str:
        """Why a Slurm job has not begun, in Slurm's word; empty once it has."""
        asked = ["squeue", "--noheader", "--states=PENDING", "--format=%r", f"--jobs={self.job}"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()

    @contextmanager
    def signals(self, progress: ProgressCallback) -> Iterator[None]:
        """Ctrl-C and its like go to all ranks: the first saves a checkpoint and ends the run, the next ends it at once."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            if time.monotonic() - self._last < _SAME_SIGNAL_SECONDS:
                return
            self._last = time.monotonic()
            self.stopped += 1
            if self.stopped == 1:
                name = signal.Signals(number).name
                progress.note(f"{name}: all processes save a checkpoint after this step (again to stop at once)")
            self._send(signal.SIGINT if self.stopped == 1 else signal.SIGTERM)

        before = caught(on_signal)
        try:
            yield
        finally:
            put_back(before)

    def _send(self, number: signal.Signals) -> None:
        if self.plan.launch.name == "slurm":
            gently = ["--signal=INT"] if number == signal.SIGINT and not self._queued() else []
            subprocess.run(["scancel", *gently, self.job], check=False)
        elif self.process.poll() is None:
            self.process.send_signal(number)


def failures(run: Path) -> list[dict[str, Any]]:
    """Processes that failed in the last launch of a run, the first one first; `rank`, `exitcode`, `pid` and `time` of each."""
    files = sorted((run / FOLDER / FAILURES).glob("machine-*.json"))
    return sorted((row for file in files for row in read_json(file)), key=lambda row: row["time"])


def how_it_ended(exitcode: int) -> str:
    """`ended with exit code 1`, or `was ended by SIGKILL` for the negative number of a signal."""
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-exitcode).name}"
    return f"was ended by signal {-exitcode}"


def _error(plan: LaunchPlan, run: Run, failed: list[dict[str, Any]], code: int, stopped: int) -> LaunchError:
    if not failed:
        log = log_of_machine(run.path, 0)
        log = log if log.exists() and log.stat().st_size else run.path / FOLDER / "launcher.log"
        how = how_it_ended(code) if code else "ended before the run did"
        return LaunchError(
            f"the launcher {plan.launch.name} {how}{_tail(log)}",
            given=log,
            hint="--resume continues from the last checkpoint" if stopped else None,
        )
    first = failed[0]
    log = run.path / "logs" / f"rank-{first['rank']}.log"
    killed = first["exitcode"] == -signal.SIGKILL and not stopped
    return LaunchError(
        f"rank {first['rank']} of {plan.place.world_size} {how_it_ended(first['exitcode'])}"
        + (", perhaps for its memory" if killed else "")
        + _tail(log),
        given=log,
        hint="--resume continues from the last checkpoint" if any(run.checkpoints.glob("checkpoint-*")) else None,
    )


def _tail(log: Path) -> str:
    """The end of a log, under a colon; empty where there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:
        return ""
    return ":\n" + "\n".join(f"  {line}" for line in lines) if lines else ""


@contextmanager
def _shown(log: Path) -> Iterator[None]:
    """What is appended to a file from now on is written to stderr."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    ended = threading.Event()

    def follow() -> None:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            last = False
            while True:
                if text := file.read():
                    sys.stderr.write(visible(text.decode("utf-8", errors="replace").replace("\r", "\n")))
                    sys.stderr.flush()
                elif last:
                    return
                else:
                    last = ended.wait(_LOOK_SECONDS)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
