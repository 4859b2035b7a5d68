"""Full isolation, the side of the run: a pool of warm workers, and jobs whose input and output are files in memory.

Nothing that a program sends is parsed here: its output is bytes, its channel a socket that the caller reads. The one message
that is parsed, how the job ended, comes from the worker, which no program can reach.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlllm.sandbox.batch import run_all
from rlllm.sandbox.jobs import Limits, Outcome, Program
from rlllm.sandbox.layers import SandboxError, layer_missing
from rlllm.sandbox.packages import Packages, linked

_MIB = 1 << 20
_START_SECONDS = 30.0
_GRACE_SECONDS = 5.0
"""How much later than a job's wall limit its worker may answer before it is given up."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment that keeps numeric packages from starting threads, which neither new namespaces nor forks allow."""
_SEALS = 0x000F  # F_SEAL_SEAL | SHRINK | GROW | WRITE
_ADD_SEALS = 1033
_BOOT = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from rlllm.sandbox import worker; worker.main({control}, {parent}, {packages!r}, {modules!r})"
)
_SOURCES = str(Path(__file__).resolve().parents[2])


class Worker:
    """One warm launcher process and the socket to it. Raises `SandboxError` where a layer is missing."""

    def __init__(self, packages: Packages | None = None) -> None:
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        boot = _BOOT.format(
            root=_SOURCES,
            control=theirs.fileno(),
            parent=os.getpid(),
            packages=str(packages.folder) if packages else None,
            modules=packages.modules if packages else (),
        )
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-P", "-X", "utf8", "-c", boot],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **ONE_THREAD},
                pass_fds=[theirs.fileno()],
                cwd="/",
                start_new_session=True,
            )
        finally:
            theirs.close()
        self._greeted = False

    def greet(self) -> None:
        """Wait until the worker is ready."""
        if self._greeted:
            return
        message = self.receive(_START_SECONDS) or {"missing": "worker", "reason": self._last_words()}
        if "missing" in message:
            self.close()
            raise layer_missing(message["missing"], message["reason"])
        assert self.process.stderr is not None
        self.process.stderr.close()
        self._greeted = True

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """Its next message; None where it is gone or says nothing in time."""
        poll = select.poll()
        poll.register(self.line, select.POLLIN)
        try:
            message = self.line.recv(8192) if poll.poll(1000 * seconds) else b""
        except OSError:
            return None
        return json.loads(message) if message else None

    def dismiss(self) -> None:
        """Tell it to end, with all that it runs. Whoever waits for its answer gets none."""
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See it off: let it end by itself; if it does not, end it."""
        self.line.close()
        try:
            self.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()

    def _last_words(self) -> str:
        self.process.kill()
        _, errors = self.process.communicate()
        return errors.decode("utf-8", "replace").strip()[-500:] or "it ended without a word"


class IsolatedJob:
    """A program in a worker; the worker goes back to the pool once the outcome is known."""

    def __init__(self, pool: IsolatedSandbox, worker: Worker, name: int, program: Program) -> None:
        self._pool, self._worker, self._name = pool, worker, name
        self._limits = program.limits
        self._outcome: Outcome | None = None
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._files = [memory_file(b"") for _ in range(2)]
        self.channel, theirs = socket.socketpair()
        inputs = [memory_file(program.stdin, sealed=True), memory_file(encoded(program.source), sealed=True)]
        order = json.dumps({"id": name, "limits": order_of(program.limits)}).encode()
        try:
            descriptors = [inputs[0], *self._files, theirs.fileno(), inputs[1]]
            socket.send_fds(worker.line, [order], descriptors)
            self._sent = True
        except OSError:
            self._sent = False
        finally:
            theirs.close()
            for descriptor in inputs:
                os.close(descriptor)
        self._started = time.monotonic()

    def wait(self) -> Outcome:
        with self._lock:
            if self._outcome is None:
                left = self._started + self._limits.wall_seconds + _GRACE_SECONDS - time.monotonic()
                answer = self._worker.receive(max(0.0, left)) if self._sent else None
                with self._sending:
                    self._outcome = self._collect(answer)
                self._pool.give_back(self._worker, usable=self._outcome.ended not in ("lost", "setup"))
            return self._outcome

    def kill(self) -> None:
        with self._sending, contextlib.suppress(OSError):
            if self._outcome is None:
                self._worker.line.send(json.dumps({"kill": self._name}).encode())

    def __del__(self) -> None:
        if getattr(self, "_outcome", self) is None:  # never waited for: its worker may still be at it
            self._close_files()
            self._pool.give_back(self._worker, usable=False)

    def _collect(self, answer: dict[str, Any] | None) -> Outcome:
        limit = self._limits.output_kb * 1024
        stdout = os.pread(self._files[0], limit, 0)
        stderr = os.pread(self._files[1], limit - len(stdout), 0)
        self._close_files()
        if answer is None:
            reason = b"the worker ended before the program did"
            return Outcome("lost", None, b"", reason, time.monotonic() - self._started)
        if answer["ended"] == "setup":
            return Outcome("setup", None, b"", answer["reason"].encode(), answer["seconds"])
        ended, code = answer["ended"], answer["code"]
        if ended == "exit" and ran_out_of_memory(code, stderr):
            ended, code = "memory", None
        return Outcome(ended, code, stdout, stderr, answer["seconds"])

    def _close_files(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []


class IsolatedSandbox:
    """The `Sandbox` of full isolation.

    Args:
        workers: how many programs `run` has under way at once; None: two a core, since half of a short job is waiting for
            the kernel to make and clear its namespaces.
        packages: installed packages that programs may import.
    """

    def __init__(self, workers: int | None = None, packages: Sequence[str] = ()) -> None:
        self.workers = workers or 2 * len(os.sched_getaffinity(0))
        self._owner = os.getpid()
        self._names = itertools.count(1)
        self._lock = threading.Lock()
        self._closed = False
        self._packages = linked(packages) if packages else None
        self._idle = [Worker(self._packages) for _ in range(self.workers)]
        self._busy: set[Worker] = set()
        self._threads = ThreadPoolExecutor(self.workers, "sandbox")
        try:
            for worker in self._idle:
                worker.greet()
        except SandboxError:
            self.close()
            raise

    def start(self, program: Program) -> IsolatedJob:
        return IsolatedJob(self, self._take(), next(self._names), program)

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        self._check_usable()  # in a fork the threads are gone, and what they are given is never begun
        return run_all(self._threads, self.start, programs)

    def close(self) -> None:
        if os.getpid() != self._owner:
            return  # a fork that ends must not hang up on its parent's workers
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in [*busy, *idle]:
            worker.dismiss()  # a busy one is closed by the thread that waits for its job
        for worker in idle:
            worker.close()
        if self._packages:
            self._packages.remove()

    def give_back(self, worker: Worker, usable: bool) -> None:
        """Take a worker back for the next job; one that failed, or is one too many, ends."""
        with self._lock:
            self._busy.discard(worker)
            keep = usable and not self._closed and len(self._idle) < self.workers
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.close()

    def _take(self) -> Worker:
        with self._lock:
            self._check_usable()
            worker = next((idle for idle in self._popped() if idle.process.poll() is None), None)
        worker = worker or Worker(self._packages)
        worker.greet()
        with self._lock:
            self._busy.add(worker)
        return worker

    def _check_usable(self) -> None:
        if self._closed or os.getpid() != self._owner:
            raise SandboxError("this sandbox is closed, or was opened by another process")

    def _popped(self) -> Iterator[Worker]:
        """Idle workers, one after the other; what the caller does not keep has ended by itself."""
        while self._idle:
            yield self._idle.pop()


def order_of(limits: Limits) -> dict[str, float]:
    """The limits in the units of the kernel calls that set them: seconds and bytes."""
    disk, output = limits.disk_mb * _MIB, limits.output_kb * 1024
    return {
        "wall": limits.wall_seconds,
        "cpu": math.ceil(limits.cpu_seconds),
        "cpu_total": limits.cpu_seconds,
        "memory": limits.memory_mb * _MIB,
        "processes": limits.processes,
        "disk": disk,
        "output": output,
        "file": max(disk, 2 * output),
    }


def memory_file(content: bytes, *, sealed: bool = False) -> int:
    """A descriptor of an anonymous file that holds `content`, at its beginning; sealed: nobody can change it any more."""
    import fcntl

    descriptor = os.memfd_create("rlllm", os.MFD_CLOEXEC | (os.MFD_ALLOW_SEALING if sealed else 0))
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    if sealed:
        fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
    return descriptor


def encoded(source: str) -> bytes:
    """The source as UTF-8; what is no valid text stays so, and fails where the program is compiled."""
    return source.encode("utf-8", "surrogatepass")


def ran_out_of_memory(code: int | None, stderr: bytes) -> bool:
    """Whether a program ended by the `MemoryError` that its limit raises."""
    return code == 1 and stderr.rstrip().rpartition(b"\n")[2].startswith(b"MemoryError")
