"""No isolation: a child process with a time limit, for programs that one would run by hand and for machines without the layers.

A program here can read, write, connect and signal whatever the user can. Limits are the kernel's for each process; totals
are not checked. The interface is that of full isolation.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rlllm.sandbox.batch import run_all
from rlllm.sandbox.jobs import Ending, Outcome, Program
from rlllm.sandbox.layers import SandboxError
from rlllm.sandbox.packages import Packages, linked
from rlllm.sandbox.pool import ONE_THREAD, encoded, order_of, ran_out_of_memory

_INTERVAL = 0.005
_BOOT = """
import os, resource, sys
_, place, channel, cpu, memory, size, packages = sys.argv
os.dup2(int(channel), 3)
os.closerange(4, int(channel) + 1)
for kind, limit in (("CPU", int(cpu)), ("AS", int(memory)), ("FSIZE", int(size)), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (limit, limit + (kind == "CPU")))
start = f"import sys; sys.path.append({packages!r}) if {packages!r} else None; sys.argv = [{place!r}]; "
start += f"exec(compile(open({place!r}, 'rb').read(), {place!r}, 'exec'), {{'__name__': '__main__'}})"
os.execv(sys.executable, [sys.executable, "-I", "-S", *(["-c", start] if packages else [place])])
"""


class PlainJob:
    """A program as an ordinary child process, in a process group and an empty folder of its own."""

    def __init__(self, program: Program, packages: Packages | None = None) -> None:
        self._limits, self._order = program.limits, order_of(program.limits)
        self._folder = tempfile.TemporaryDirectory(prefix="rlllm-")
        self._streams = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115  # closed with the outcome
        self._streams[0].write(program.stdin)
        self._streams[0].seek(0)
        place = os.path.join(self._folder.name, "program.py")
        with open(place, "wb") as file:
            file.write(encoded(program.source))
        self._lock = threading.Lock()
        self._outcome: Outcome | None = None
        self.channel, theirs = socket.socketpair()
        limits = [int(self._order[key]) for key in ("cpu", "memory", "file")]
        words = [place, theirs.fileno(), *limits, packages.folder if packages else ""]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, *map(str, words)],
                stdin=self._streams[0],
                stdout=self._streams[1],
                stderr=self._streams[2],
                env={"HOME": self._folder.name, "TMPDIR": self._folder.name, "LANG": "C.UTF-8", **ONE_THREAD},
                cwd=self._folder.name,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._started = time.monotonic()

    def wait(self) -> Outcome:
        with self._lock:
            if self._outcome is None:
                forced = self._watch()
                self.kill()
                code = self._process.wait()
                self._outcome = self._collect(forced, code)
            return self._outcome

    def kill(self) -> None:
        if self._outcome is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _watch(self) -> Ending | None:
        while self._process.poll() is None:
            if self._written() > self._order["output"]:
                return "output"
            if time.monotonic() - self._started > self._limits.wall_seconds:
                return "time"
            time.sleep(_INTERVAL)
        return "output" if self._written() > self._order["output"] else None

    def _written(self) -> int:
        return sum(os.fstat(stream.fileno()).st_size for stream in self._streams[1:])

    def _collect(self, forced: Ending | None, code: int) -> Outcome:
        seconds = time.monotonic() - self._started
        limit = int(self._order["output"])
        stdout = os.pread(self._streams[1].fileno(), limit, 0)
        stderr = os.pread(self._streams[2].fileno(), limit - len(stdout), 0)
        for stream in self._streams:
            stream.close()
        with contextlib.suppress(OSError):
            self._folder.cleanup()
        if forced is None and ran_out_of_memory(code, stderr):
            forced = "memory"
        if forced is None and code == -signal.SIGXCPU:
            forced = "time"
        ended: Ending = forced or ("signal" if code < 0 else "exit")
        return Outcome(ended, None if forced else abs(code), stdout, stderr, seconds)


class PlainSandbox:
    """The `Sandbox` without isolation.

    Args:
        workers: how many programs `run` has under way at once; None: two a core.
        packages: installed packages that programs may import.
    """

    def __init__(self, workers: int | None = None, packages: Sequence[str] = ()) -> None:
        self._threads = ThreadPoolExecutor(workers or 2 * (os.cpu_count() or 1), "plain-sandbox")
        self._packages = linked(packages) if packages else None
        self._closed = False

    def start(self, program: Program) -> PlainJob:
        if self._closed:
            raise SandboxError("this sandbox is closed")
        return PlainJob(program, self._packages)

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        if self._closed:
            raise SandboxError("this sandbox is closed")
        return run_all(self._threads, self.start, programs)

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._packages:
            self._packages.remove()
