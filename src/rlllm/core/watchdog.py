"""The watchdog of a process: where a run shows no sign of progress for too long, it writes down where it is, and ends.

The kernel's timers call functions of C: `system`, which starts the program that writes the report, and after it
`_exit`. No thread of Python would do, since a regular expression that backtracks holds the interpreter's lock, and then none
runs. For the same reason the stacks are written by a handler of faulthandler in C. Where the kernel has no such timers (macOS,
Windows), nothing is watched.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import shlex
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rlllm.core.errors import ExitCode
from rlllm.core.events import ProgressCallback

SIGN, STACKS = "rlllm-sign", "rlllm-stacks"
"""Names of two files in memory, by which another process finds them under /proc: the last sign of progress, and the stacks."""
REPORT_SECONDS = 30
"""From the report's start to the end of the process. A sign of progress in this time calls both off."""
_LONGEST_TEXT = 2_000
"""Characters of a prompt and of a completion that the last sign shows."""
_PAUSE_SECONDS = 0.1
"""Of signs that say nothing new, one in so long is enough."""
_SIGEV_THREAD = 2


class _Notice(ctypes.Structure):
    """`struct sigevent` of Linux with 64 bits: call a function of C with one argument, in a thread of its own."""

    _fields_ = (
        ("argument", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("how", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("rest", ctypes.c_char * 40),
    )


class _Timer:
    """A timer of the kernel that calls a function of C once its time has passed; to be set before that again and again.

    Args:
        function: its name.
        argument: a number, or the address of a text that stays where it is.
    """

    def __init__(self, function: str, argument: int) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        address = ctypes.cast(getattr(self._library, function), ctypes.c_void_p).value
        notice = _Notice(argument=argument, how=_SIGEV_THREAD, function=address)
        self._number = ctypes.c_void_p()
        if self._library.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(notice), ctypes.byref(self._number)):
            raise OSError(ctypes.get_errno(), "timer_create")

    def set(self, seconds: float) -> None:
        """Call the function after so many seconds; 0 calls it off."""
        whole = int(seconds)
        times = (ctypes.c_long * 4)(0, 0, whole, int((seconds - whole) * 1e9))
        self._library.timer_settime(self._number, 0, ctypes.byref(times), None)

    def remove(self) -> None:
        self._library.timer_delete(self._number)


class _Watch:
    """The watchdog of this process.

    Args:
        seconds: how long the run may show no sign of progress.
        report: the command that writes the report then.

    Raises:
        OSError, AttributeError: this system has no such timers.
    """

    def __init__(self, seconds: float, report: Sequence[str]) -> None:
        self.process = os.getpid()
        self.seconds = seconds
        self._last, self._count = float("-inf"), 0
        self._facts: dict[str, Any] = {}
        self._sign, self._stacks = (os.memfd_create(name) for name in (SIGN, STACKS))
        self._command = ctypes.create_string_buffer(os.fsencode(f"exec {shlex.join(report)}"))
        self._timers = (_Timer("system", ctypes.addressof(self._command)), _Timer("_exit", int(ExitCode.STALLED)))
        faulthandler.register(signal.SIGUSR2, file=self._stacks, all_threads=True)
        self.sign()

    def sign(self, **facts: Any) -> None:
        """Set the timers anew. What is known of the work at hand is kept in the file, together with earlier facts."""
        now = time.monotonic()
        if not facts and now - self._last < _PAUSE_SECONDS:
            return
        self._last, self._count = now, self._count + 1
        self._facts |= facts
        text = json.dumps({"signs": self._count, "time": time.time(), **self._facts}).encode()
        os.pwrite(self._sign, text + b"\n", 0)  # what is left of a longer text before stands behind the end of the line
        for timer, more in zip(self._timers, (0, REPORT_SECONDS), strict=True):
            timer.set(self.seconds + more)

    @property
    def work(self) -> Mapping[str, Any]:
        return self._facts.get("work") or {}

    def end(self) -> None:
        for timer in self._timers:
            timer.remove()
        faulthandler.unregister(signal.SIGUSR2)
        os.close(self._sign)
        os.close(self._stacks)


_CURRENT: _Watch | None = None


@contextmanager
def watching(seconds: float, report: Sequence[str]) -> Iterator[None]:
    """Watch this process during the block. A run inside a run is watched with the outer one.

    Args:
        seconds: without a sign of progress for so long, the process ends with `ExitCode.STALLED`; 0 watches nothing.
        report: the command that writes the report before.
    """
    global _CURRENT
    if not seconds or _CURRENT is not None:
        yield
        return
    with suppress(OSError, AttributeError):
        _CURRENT = _Watch(seconds, report)
    try:
        yield
    finally:
        if _CURRENT is not None:
            _CURRENT.end()
            _CURRENT = None


def sign(**facts: Any) -> None:
    """Say that this process gets on, and what it does now. Costs some microseconds.

    Args:
        facts: JSON values by name, such as `phase`; each is kept until it is given again.
    """
    if _CURRENT is not None and _CURRENT.process == os.getpid():
        _CURRENT.sign(**facts)


@contextmanager
def scoring(reward: str, count: int) -> Iterator[None]:
    """In the block, a reward scores so many samples."""
    sign(work={"reward": reward, "samples": count})
    try:
        yield
    finally:
        sign(work=None)


def scoring_sample(prompt: Any, completion: str) -> None:
    """Say which of the samples the reward is about to score."""
    if _CURRENT is not None:
        sign(work={**_CURRENT.work, "prompt": str(prompt)[:_LONGEST_TEXT], "completion": completion[:_LONGEST_TEXT]})


class Watched:
    """A progress callback that tells the watchdog of each event.

    Args:
        inner: hears the events.
    """

    def __init__(self, inner: ProgressCallback) -> None:
        self.inner = inner

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        sign()
        self.inner.started(stage, total_steps, run)

    def phase(self, name: str) -> None:
        sign(phase=name, work=None)
        self.inner.phase(name)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        sign(step=step)
        self.inner.step(step, values)

    def note(self, text: str) -> None:
        sign()
        self.inner.note(text)

    def finished(self, run: Path) -> None:
        sign()
        self.inner.finished(run)


def heard(progress: ProgressCallback) -> ProgressCallback:
    """A progress callback of whose events the watchdog is told."""
    return progress if isinstance(progress, Watched) else Watched(progress)
