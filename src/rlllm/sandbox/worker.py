"""The launcher: a bare, warm interpreter that is walled in once and forks for every job.

Started by `pool.py` as two processes. The *guardian* enters new user, mount, pid, network, IPC, UTS and cgroup namespaces,
ends when the process that opened the sandbox ends, and is the parent of the *worker*, which takes one order at a time from
its control socket. Each job gets a pid and a mount namespace more. The worker never reads a program, its input or its output:
these travel in descriptors that only the job reads, so no job can find a trace of another in the memory it inherits.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from rlllm.sandbox import kernel, landlock, program, seccomp, view
from rlllm.sandbox.watch import Watch

_WARM = """
__future__ abc argparse array ast atexit base64 binascii bisect builtins bz2 calendar cmath collections
collections.abc contextlib copy ctypes csv dataclasses datetime decimal difflib enum errno fractions functools gc
hashlib heapq inspect io itertools json linecache locale lzma math numbers operator os pathlib pickle pprint queue
random re resource select secrets shutil signal socket sqlite3 statistics string struct subprocess tempfile textwrap
threading time timeit traceback types typing unicodedata unittest uuid warnings weakref zlib zoneinfo
"""
"""Imported before a program starts. Those that link a library of the host have to be: the library's file is out of view."""

ENVIRONMENT = {"HOME": view.FOLDER, "TMPDIR": view.FOLDER, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
NOBODY = 65534
_INSIDE = 1000
"""The user id that a program sees."""


class LayerMissingError(Exception):
    """A layer that the machine lacks: its name, and what the kernel said."""

    def __init__(self, layer: str, reason: object) -> None:
        super().__init__(layer, str(reason))
        self.layer, self.reason = layer, str(reason)


def missing() -> list[tuple[str, str]]:
    """Layers that are known to be missing before any is tried: name and reason."""
    layers = []
    if kernel.machine() not in seccomp.ARCHITECTURES:
        layers.append(("seccomp", f"there is no system call table for {kernel.machine()}"))
    elif not seccomp.available():
        layers.append(("seccomp", "the kernel was built without it"))
    try:
        landlock.version()
    except OSError as problem:
        layers.append(("landlock", str(problem)))
    return layers


def main(control: int, parent: int, packages: str | None = None, modules: Sequence[str] = ()) -> None:
    """Be the guardian, and in a fork of it the worker.

    Args:
        control: descriptor of a SOCK_SEQPACKET socket.
        parent: the process to end with.
        packages: folder of links to packages that programs may import.
        modules: those that are imported now.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = socket.socket(fileno=control)
    try:
        watched = _layer("process handles", os.pidfd_open, parent)
        lacking = missing()
        if lacking:
            raise LayerMissingError(*lacking[0])
        for name in _WARM.split():
            import_module(name)
        _import_packages(packages, modules)
        processes = _layer("process accounting", os.open, "/proc", os.O_PATH | os.O_DIRECTORY)
        enter(processes, packages)
        worker = _fork_worker()
        if worker:
            line.close()
            _guard(worker, watched)
        else:
            os.close(watched)
            _serve(line, processes, packages)
    except LayerMissingError as absent:
        line.send(json.dumps({"missing": absent.layer, "reason": absent.reason}).encode())
    os._exit(0)


def _import_packages(folder: str | None, modules: Sequence[str]) -> None:
    if folder is None:
        return
    sys.path.append(folder)
    for name in modules:
        try:
            import_module(name)
        except Exception as problem:
            raise LayerMissingError("packages", f"{name} does not import: {problem!r}"[:500]) from problem


def enter(processes: int, packages: str | None = None) -> None:
    """Into namespaces of our own, with the file view as root; root becomes nobody. `processes` is an open /proc."""
    _layer("process accounting", _write, processes, "self/oom_score_adj", "1000")
    rest = kernel.NAMESPACES & ~kernel.CLONE_NEWUSER & ~kernel.CLONE_NEWNS
    if os.geteuid() == 0:
        _layer("mount namespace", kernel.unshare, kernel.CLONE_NEWNS)
        _layer("file view", view.build, packages)
        _layer("identity", _become_nobody)
        _layer("user namespace", kernel.unshare, kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        _layer("user namespace", _map_identity, processes, NOBODY, NOBODY)
    else:
        user, group = os.geteuid(), os.getegid()
        _layer("user namespace", kernel.unshare, kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        _layer("user namespace", _map_identity, processes, user, group)
        _layer("file view", view.build, packages)
    for name in ("PID", "NET", "IPC", "UTS", "CGROUP"):
        flag = getattr(kernel, f"CLONE_NEW{name}")
        _layer(f"{name.lower()} namespace", kernel.unshare, flag & rest)


def _layer(name: str, step: Any, *arguments: object) -> Any:
    """What a step gives; the layer is missing where it fails."""
    try:
        return step(*arguments)
    except OSError as problem:
        raise LayerMissingError("processes" if problem.errno == errno.EAGAIN else name, problem) from problem


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # else its own uid_map belongs to root


def _map_identity(processes: int, user: int, group: int) -> None:
    _write(processes, "self/setgroups", "deny")
    _write(processes, "self/uid_map", f"{_INSIDE} {user} 1")
    _write(processes, "self/gid_map", f"{_INSIDE} {group} 1")


def _write(folder: int, path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY, dir_fd=folder)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _fork_worker() -> int:
    guardian = _layer("process handles", os.pidfd_open, os.getpid())
    worker: int = _layer("pid namespace", os.fork)
    if worker == 0:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if select.select([guardian], [], [], 0)[0]:
            os._exit(1)  # it died before the line above
    os.close(guardian)
    return worker


def _guard(worker: int, parent: int) -> None:
    """Stay until the worker is gone or the parent is; then nothing of the sandbox is left."""
    there = os.pidfd_open(worker)
    select.select([there, parent], [], [])
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)


def _serve(line: socket.socket, processes: int, packages: str | None) -> None:
    """Jobs one after the other, until the control socket closes."""
    home = _layer("pid namespace", lambda: os.open("self/ns/pid", os.O_RDONLY, dir_fd=processes))
    watch = Watch(line.fileno(), processes)
    _layer("process accounting", watch.check)
    folders = [*view.stdlib_folders(), *([packages] if packages else [])]
    rights = {
        **dict.fromkeys(folders, landlock.READ),
        view.HOLDER: landlock.WRITE,
        "/dev/null": landlock.WRITE,
    }
    walls = program.Walls(_layer("landlock", landlock.ruleset, rights), seccomp.Filter(seccomp.program()))
    holder = kernel.NamespaceHolder()
    _layer("pid namespace", _try_namespace, holder, home)
    kernel.drop_bounding_set()
    sys.path[:] = [place for place in sys.path if place.startswith(tuple(folders))]
    os.environ.update(ENVIRONMENT)
    os.environ.pop("LC_CTYPE", None)
    gc.collect()
    gc.freeze()
    line.send(b'{"ready": true}')
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, 4096, program.SOURCE + 1)
        if not message:
            return
        order = json.loads(message)
        if "limits" in order:
            try:
                answer = _job(order, descriptors, home, watch, holder, walls)
            except LayerMissingError as absent:  # such as a limit of processes that others have used up by now
                reason = f"no {absent.layer}: {absent.reason}"
                line.send(json.dumps({"ended": "setup", "code": None, "seconds": 0.0, "reason": reason}).encode())
                return
            line.send(json.dumps(answer).encode())


def _try_namespace(holder: kernel.NamespaceHolder, home: int) -> None:
    """Into the namespace of a job and back, so that a kernel or a container that refuses it is known before any job."""
    first = holder.new()
    try:
        os.close(_entered(first))
        kernel.setns(home, kernel.CLONE_NEWPID)
    finally:
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)


def _entered(first: int) -> int:
    """A descriptor of the namespace of its first process; the next child of this process is born there."""
    namespace = os.pidfd_open(first)
    kernel.setns(namespace, kernel.CLONE_NEWPID)
    return namespace


def _job(
    order: dict[str, Any],
    descriptors: list[int],
    home: int,
    watch: Watch,
    holder: kernel.NamespaceHolder,
    walls: program.Walls,
) -> dict[str, Any]:
    """One program from start to end: how it ended, as the answer on the control socket."""
    report, trouble = os.pipe()
    limits = order["limits"]
    started = time.monotonic()
    first = _layer("pid namespace", holder.new)
    namespace = _layer("pid namespace", _entered, first)
    child = _layer("pid namespace", os.fork)
    if child == 0:
        program.become(limits, [*descriptors, trouble], walls)
    kernel.setns(home, kernel.CLONE_NEWPID)
    os.close(trouble)
    forced = watch.until_over(child, order["id"], limits, descriptors)
    os.kill(first, signal.SIGKILL)
    _, status = os.waitpid(child, 0)  # before the first: the kernel lets that go only when the namespace is empty
    os.waitpid(first, 0)
    seconds = time.monotonic() - started
    forced = forced or watch.written(limits, descriptors)
    failure = os.read(report, 4096).decode("utf-8", "replace")
    for descriptor in (report, namespace, *descriptors):
        os.close(descriptor)
    return {"id": order["id"], "seconds": seconds, **_answer(forced, failure, status)}


def _answer(forced: str | None, failure: str, status: int) -> dict[str, Any]:
    if failure:
        return {"ended": "setup", "code": None, "reason": failure}
    if forced:
        return {"ended": forced, "code": None}
    if not os.WIFSIGNALED(status):
        return {"ended": "exit", "code": os.WEXITSTATUS(status)}
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return {"ended": "time", "code": None}
    return {"ended": "signal", "code": number}
