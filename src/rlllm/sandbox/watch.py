"""Limits of one job, checked from outside its namespaces: wall time, and processor time, memory and output of all processes.

The kernel's own limits hold for each process; the totals are read from /proc a few dozen times a second, so that a job can
exceed one of them until the next reading. Memory is that of the processes and the most that their sockets may hold, which the
kernel counts to no process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from typing import Any

INTERVAL = 0.02
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_USER_TIME = 11
"""Fields of /proc/PID/stat after the name: user and system time, own and of reaped children, stand at 11 to 14."""
_STARTED = 19
_RESIDENT = 21


class Watch:
    """Looks after the jobs of one worker. `processes` is a descriptor of /proc, wherever that is mounted."""

    def __init__(self, line: int, processes: int) -> None:
        self.line = line
        self.processes = processes
        with socket.socketpair()[0] as one:
            self._buffer = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def check(self) -> None:
        """Raise `OSError` where this kernel or its /proc does not say who the children of a process are."""
        thread = os.listdir(os.open("self/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.processes))[0]
        os.close(os.open(f"self/task/{thread}/children", os.O_RDONLY, dir_fd=self.processes))

    def until_over(self, child: int, name: int, limits: dict[str, Any], descriptors: list[int]) -> str | None:
        """Wait until the program ends, passes a limit, or the control socket says to stop it.

        Returns the ending that a limit calls for; None where it ended by itself or is to be killed as asked.
        """
        handle = os.pidfd_open(child)
        deadline = time.monotonic() + limits["wall"]
        spent: dict[tuple[str, bytes], int] = {}
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(self.line, select.POLLIN)
        try:
            while True:
                left = min(INTERVAL, deadline - time.monotonic())
                events = dict(poll.poll(max(0, 1000 * left)))
                if handle in events or (self.line in events and self._told_to_stop(name)):
                    return None
                if ended := self._exceeded(limits, descriptors, deadline, spent):
                    return ended
        finally:
            os.close(handle)

    def written(self, limits: dict[str, Any], descriptors: list[int]) -> str | None:
        """`output` where more was written than is allowed."""
        size = sum(os.fstat(descriptor).st_size for descriptor in descriptors[1:3])
        return "output" if size > limits["output"] else None

    def _told_to_stop(self, name: int) -> bool:
        with socket.socket(fileno=os.dup(self.line)) as line:
            message = line.recv(4096)
        return not message or json.loads(message).get("kill") == name

    def _exceeded(
        self, limits: dict[str, Any], descriptors: list[int], deadline: float, spent: dict[tuple[str, bytes], int]
    ) -> str | None:
        if time.monotonic() >= deadline:
            return "time"
        if ended := self.written(limits, descriptors):
            return ended
        seconds, size = self._used(spent)
        if seconds > limits["cpu_total"]:
            return "time"
        return "memory" if size > limits["memory"] else None

    def _used(self, spent: dict[tuple[str, bytes], int]) -> tuple[float, int]:
        """Processor seconds and resident bytes of everything in the job's namespace, but for its idle first process.

        `spent` holds the time of every process seen so far: the kernel forgets that of orphans, which nobody waits for.
        """
        ticks = pages = 0
        first, *waiting = self._children("self")  # in the order of their birth
        waiting += self._children(first)
        while waiting:
            number = waiting.pop()
            waiting += self._children(number)
            fields = self._read(f"{number}/stat").rpartition(b")")[2].split()
            if fields:
                user, system, *of_children = (int(field) for field in fields[_USER_TIME : _USER_TIME + 4])
                ticks += user + system + sum(of_children)
                spent[number, fields[_STARTED]] = user + system
                pages += int(fields[_RESIDENT])
        return max(ticks, sum(spent.values())) / _TICK, pages * _PAGE + self._sockets() * self._buffer

    def _sockets(self) -> int:
        """How many sockets there are in the worker's network namespace: those of its one job."""
        parts = []
        with contextlib.suppress(OSError):
            descriptor = os.open("self/net/unix", os.O_RDONLY, dir_fd=self.processes)
            try:
                while part := os.read(descriptor, 65536):  # the kernel gives a page at a time
                    parts.append(part)
            finally:
                os.close(descriptor)
        return max(0, b"".join(parts).count(b"\n") - 1)  # a line each, below a header

    def _children(self, number: str) -> list[str]:
        try:
            threads = os.open(f"{number}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.processes)
        except OSError:
            return []
        try:
            names = os.listdir(threads)
        finally:
            os.close(threads)
        return [child for name in names for child in self._read(f"{number}/task/{name}/children").decode().split()]

    def _read(self, path: str) -> bytes:
        """The file's content, or nothing where its process has just ended."""
        try:
            descriptor = os.open(path, os.O_RDONLY, dir_fd=self.processes)
        except OSError:
            return b""
        try:
            return os.read(descriptor, 65536)
        except OSError:
            return b""
        finally:
            os.close(descriptor)
