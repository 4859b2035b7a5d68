"""Inside one job: a fork of the worker gives up its rights step by step, then becomes the program.

The first process of the job's pid namespace does nothing; it belongs to the worker, which kills it at the end, and the kernel
then ends whatever is left in the namespace.
"""

from __future__ import annotations

import builtins
import os
import resource
import signal
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from rlllm.sandbox import kernel, landlock, seccomp, view

_NAME = "program.py"
_OPEN_FILES = 128
_OTHERS = 3
"""Processes of the worker that count against the same limit: its guardian, itself, the first of the namespace."""

INPUT, OUTPUT, ERRORS, CHANNEL, SOURCE, TROUBLE = 0, 1, 2, 3, 4, 5
"""Where the descriptors of a job go; those above the channel are closed before the program."""


@dataclass(frozen=True)
class Walls:
    """What a worker prepares once for all its jobs."""

    rules: int
    """Descriptor of the Landlock rules."""
    calls: seccomp.Filter


def become(limits: dict[str, Any], descriptors: list[int], walls: Walls) -> NoReturn:
    """Confine this process and run the program in it.

    `descriptors` stand in the order of the constants above. What goes wrong on the way is written to the last of them.
    """
    trouble = descriptors[-1]
    try:
        os.setsid()  # else kill(0, ...) would reach the worker, whose process group this was
        kernel.unshare(kernel.CLONE_NEWNS)
        view.own_folder(limits["disk"])
        kernel.drop_capabilities()
        landlock.restrict(walls.rules)
        _place(descriptors)
        trouble = TROUBLE
        _limit(limits)
        walls.calls.install()
    except BaseException as problem:
        os.write(trouble, repr(problem).encode())
        os._exit(1)
    os.close(TROUBLE)
    _run_program()


def _place(descriptors: list[int]) -> None:
    """Move the descriptors to 0, 1, ... and close everything else this process inherited."""
    high = [os.dup(descriptor) for descriptor in descriptors]
    while min(high) <= TROUBLE:
        high = [os.dup(descriptor) if descriptor <= TROUBLE else descriptor for descriptor in high]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, number, inheritable=False)
    os.closerange(len(high), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _limit(order: dict[str, Any]) -> None:
    cpu = order["cpu"]
    limits = {
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_AS: order["memory"],
        resource.RLIMIT_NPROC: order["processes"] + _OTHERS,
        resource.RLIMIT_FSIZE: order["file"],
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for kind, limit in limits.items():
        soft, hard = limit if isinstance(limit, tuple) else (limit, limit)
        present = resource.getrlimit(kind)[1]
        fits = [bound if present == resource.RLIM_INFINITY else min(bound, present) for bound in (soft, hard)]
        resource.setrlimit(kind, (fits[0], fits[1]))


def _run_program() -> NoReturn:
    """Execute the source as an interpreter would a script: streams, `__main__`, exit status, threads and exit handlers."""
    source = os.pread(SOURCE, os.fstat(SOURCE).st_size, 0)
    os.close(SOURCE)
    for name in [name for name in sys.modules if name.partition(".")[0] == "rlllm"]:
        del sys.modules[name]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_streams()
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=_NAME)
    sys.modules["__main__"] = main
    sys.argv = [_NAME]
    code = 0
    try:
        exec(compile(source, _NAME, "exec", dont_inherit=True), main.__dict__)
    except SystemExit as leaving:
        code = _exit_code(leaving)
    except BaseException as problem:
        code = 1
        _explain(problem, source)
    _finish(code)


def _open_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode, errors = ("w" if number else "r"), ("backslashreplace" if number == ERRORS else "strict")
        buffering = 1 if number == ERRORS else -1
        stream = os.fdopen(number, mode, buffering, encoding="utf-8", errors=errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _exit_code(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    print(leaving.code, file=sys.stderr)
    return 1


def _explain(problem: BaseException, source: bytes) -> None:
    """The traceback, as an interpreter prints it: without the frame of this file, with the source's lines."""
    try:
        import linecache
        import traceback

        trace = problem.__traceback__ and problem.__traceback__.tb_next
        if sys.excepthook is not sys.__excepthook__:
            sys.excepthook(type(problem), problem, trace)
            return
        lines = source.decode("utf-8", "replace").splitlines(keepends=True)
        linecache.cache[_NAME] = (len(source), None, lines, _NAME)
        traceback.print_exception(type(problem), problem, trace, file=sys.stderr)
    except BaseException:
        os.write(ERRORS, type(problem).__name__.encode("utf-8", "replace") + b"\n")


def _finish(code: int) -> NoReturn:
    """What an interpreter does on its way out; whatever goes wrong there, the process ends."""
    try:
        import atexit
        import threading

        threading._shutdown()  # type: ignore[attr-defined]  # joins the program's threads, as the interpreter does
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream and not stream.closed:
                stream.flush()
    except BaseException:
        code = code or 120  # the interpreter's own status for output it could not flush
    finally:
        os._exit(code)
