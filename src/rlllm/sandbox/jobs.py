"""The types of a sandbox: programs, limits and outcomes, the same under either isolation.

A program is Python source, run as a fresh interpreter would run a script. It is never trusted: what it prints or sends is
data to be compared by a checker that the program cannot reach.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Isolation = Literal["full", "none"]
Ending = Literal["exit", "signal", "time", "memory", "output", "setup", "lost"]
"""How a program ended: by itself, killed by a signal, over its time, memory or output limit, before it ran at all, or with the
process that ran it, so that nothing is known about the program."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. Every limit counts all processes that the program starts."""

    cpu_seconds: float = 5.0
    wall_seconds: float = 10.0
    memory_mb: int = 512
    processes: int = 16
    output_kb: int = 256
    """Standard output and standard error together; a program that writes more is ended."""
    disk_mb: int = 16
    """Size of the empty folder that it starts in, the only place it can write to."""


@dataclass(frozen=True, slots=True)
class Program:
    """Python source and what it reads from standard input."""

    source: str
    stdin: bytes = b""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended, and what it wrote."""

    ended: Ending
    code: int | None
    """Exit status where it ended by itself; the signal's number where it was killed by one; else None."""
    stdout: bytes
    stderr: bytes
    seconds: float
    """Wall time from the start of the program."""


class Job(Protocol):
    """A program under way."""

    channel: socket.socket
    """The parent's end of a stream socket whose other end is file descriptor 3 of the program."""

    def wait(self) -> Outcome:
        """Block until the program has ended; its limits bound the time. Every process it started is gone then."""

    def kill(self) -> None:
        """End the program and all it started at once; `wait` then tells how."""


class Sandbox(Protocol):
    """Runs programs. Safe to use from several threads; one instance serves a whole run."""

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        """All programs, side by side as far as there are workers, in the order given."""

    def start(self, program: Program) -> Job:
        """One program, with a channel to talk to it."""

    def close(self) -> None:
        """Stop the workers; nothing of the sandbox is left behind."""
