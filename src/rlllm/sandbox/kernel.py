"""The kernel calls that the launcher needs and Python 3.11 lacks, one function each; every failure is an `OSError`.

Standard library only: this file is imported by a bare interpreter that has no site-packages.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal

CLONE_PARENT = 0x0000_8000
CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_GET_SECCOMP = 1, 4, 22, 21
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
LAST_CAPABILITY = 63

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_libc = ctypes.CDLL(None, use_errno=True)


def machine() -> str:
    """The instruction set as the kernel names it: `x86_64`, `aarch64`."""
    return platform.machine()


def checked(result: int, call: str) -> int:
    """`result`, or the `OSError` that a negative one stands for."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def syscall(call: str, number: int, *arguments: object) -> int:
    return checked(_libc.syscall(ctypes.c_long(number), *arguments), call)


def unshare(flags: int) -> None:
    checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, kind: int) -> None:
    checked(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else os.fsencode(value)

    result = _libc.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(options))
    checked(result, f"mount {target}")


def pivot_root_here() -> None:
    """Make the working directory the root of this mount namespace, and let go of the old one."""
    syscall("pivot_root", _PIVOT_ROOT[machine()], b".", b".")
    checked(_libc.umount2(b".", ctypes.c_int(MNT_DETACH)), "umount2")


class NamespaceHolder:
    """Makes pid namespaces whose first process does nothing: it waits, adopts orphans, and takes all with it when killed.

    It never returns to Python, runs on a stack of its own, and costs a clone instead of a second fork of the interpreter.
    """

    def __init__(self) -> None:
        size = 1 << 16
        self._stack = ctypes.create_string_buffer(size)
        self._top = ctypes.c_void_p((ctypes.addressof(self._stack) + size) & ~0xF)
        self._pause = ctypes.cast(_libc.pause, ctypes.c_void_p)

    def new(self) -> int:
        """The process id of the first process of a new namespace."""
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # inherited: orphans of the namespace are reaped unseen
        try:
            flags = ctypes.c_int(CLONE_NEWPID | signal.SIGCHLD)
            return checked(_libc.clone(self._pause, self._top, flags, None), "clone")
        finally:
            signal.signal(signal.SIGCHLD, before)


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    words = (ctypes.c_ulong(value) for value in (first, second, 0, 0))
    return checked(_libc.prctl(ctypes.c_int(option), *words), f"prctl {option}")


def drop_bounding_set() -> None:
    """Take every capability out of reach of this process's children, whatever they may execute."""
    for capability in range(LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            return  # past the last one this kernel knows


def drop_capabilities() -> None:
    """Give up every capability, for good."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)
    checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
