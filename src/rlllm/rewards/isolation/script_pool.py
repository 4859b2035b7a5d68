"""Processes that run a script which answers lines of JSON. A question past its deadline is killed with its process.

Processes start when they are first needed and stay. Each is used by one thread at a time; its script sets limits of its own on
memory and time (`script_loop.py`) and never hears Ctrl-C: whatever interrupts a question ends its process, so that no late
reply is ever taken for the next one's.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import LifoQueue
from types import ModuleType
from typing import Any

_START_SECONDS = 120.0
_MOST_WORKERS = 4


class LateError(Exception):
    """No reply before the deadline; the process is gone."""


class DeadError(Exception):
    """Two processes in a row ended on the same question: the question's doing, not an accident's."""


class _EndedError(Exception):
    """The process ended before it gave a whole reply."""


class Worker:
    """One child process that answers one JSON line with another; started by its first question, and again after a loss.

    Args:
        script: the module that the process runs as a program; it answers `{}` once all that a question needs is loaded.
    """

    def __init__(self, script: ModuleType) -> None:
        self._script = script
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The process's reply.

        Raises:
            LateError: it took longer than `seconds`.
            DeadError: it ended instead, twice.
            RuntimeError: no process starts; what the script imports is broken or missing.
        """
        try:
            return self._ask_once(request, seconds)
        except _EndedError:
            try:
                return self._ask_once(request, seconds)
            except _EndedError as error:
                raise DeadError(str(error)) from error

    def stop(self) -> None:
        """End the process; the next question starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask_once(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        try:
            process = self._process or self._start()
            return _exchange(process, {**request, "seconds": seconds}, seconds)
        except BaseException:
            self.stop()
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        path = self._script.__file__
        assert path is not None
        # -P: files beside the script must not hide modules of the standard library.
        command = [sys.executable, "-P", "-W", "ignore", path]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            _exchange(self._process, {}, _START_SECONDS)
        except (LateError, _EndedError) as error:
            raise RuntimeError(f"the process of {Path(path).name} does not start: {error}") from error
        return self._process


class Pool:
    """Up to `size` workers. Any number of threads may ask; each waits for a worker of its own.

    Args:
        size: processes that run at once.
        script: what they run.
    """

    def __init__(self, size: int, script: ModuleType) -> None:
        self._owner = os.getpid()
        self._workers = [Worker(script) for _ in range(size)]
        self._idle: LifoQueue[Worker] = LifoQueue()
        """Last in, first out: a process that already runs comes before one that would have to start."""
        for worker in self._workers:
            self._idle.put(worker)
        self.readable: dict[str, bool] = {}
        """Whether the script can read a reference, for those it was asked about."""

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A worker for this thread alone."""
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)

    def stop(self) -> None:
        """End every process; in a fork, whose parent they belong to, do nothing."""
        if os.getpid() == self._owner:
            for worker in self._workers:
                worker.stop()


def pool(size: int, script: ModuleType) -> Pool:
    """This process's pool of that size; a fork gets its own, since two readers of one pipe would mix up answers."""
    return _pool(os.getpid(), size, script)


def usual_size() -> int:
    """One process per core, at most 4."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)


@cache
def _pool(_process_id: int, size: int, script: ModuleType) -> Pool:
    pool = Pool(size, script)
    atexit.register(pool.stop)
    return pool


def _exchange(process: subprocess.Popen[bytes], request: dict[str, Any], seconds: float) -> dict[str, Any]:
    assert process.stdin is not None
    deadline = time.monotonic() + seconds
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise _EndedError(_end_of(process)) from None
    reply: dict[str, Any] = json.loads(_line(process, deadline, seconds))
    return reply


def _line(process: subprocess.Popen[bytes], deadline: float, seconds: float) -> bytes:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    line = b""
    while not line.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise LateError(f"took longer than {seconds:g} s")
        chunk = os.read(descriptor, 65536)
        if not chunk:
            raise _EndedError(_end_of(process))
        line += chunk
    return line


def _end_of(process: subprocess.Popen[bytes]) -> str:
    return f"it ended with code {process.wait()}"
