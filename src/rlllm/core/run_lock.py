"""The lock of a run directory: one process at a time writes into it, and a second one is told which.

`RUN/lock.json` says who holds it: host, process, and since when. It is made by a hard link, which also file systems without
locks of their own do at once or not at all. The holder touches it every few seconds. Who finds it asks the processes of its own
machine whether the holder lives; on another machine it waits for the next touch. A dead holder's lock is taken over.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlllm.core.errors import RunDirectoryError, RunLostError

LOCK = "lock.json"
_BEAT_SECONDS = 5.0
_SILENT_SECONDS = 30.0
"""A holder on another machine that does not touch its lock for so long is dead."""


@dataclass(slots=True)
class _Lock:
    """A lock that this process holds."""

    folder: Path
    facts: Mapping[str, Any]
    directory: int
    """The open directory: one that is made anew at the same path is another, and has another number as long as this is open."""
    ended: threading.Event = field(default_factory=threading.Event)

    def beat(self) -> None:
        while not self.ended.wait(_BEAT_SECONDS):
            if _read(self.folder / LOCK) == self.facts:
                with suppress(OSError):
                    os.utime(self.folder / LOCK)


_HELD: dict[str, _Lock] = {}
"""Path of a directory -> the lock of this process in it."""


def take(folder: Path, say: Callable[[str], None]) -> None:
    """Hold the lock of a directory from now on, until `release`.

    Args:
        folder: a directory that exists.
        say: told of a wait, and of a lock that is taken over.

    Raises:
        RunDirectoryError: a living process holds it, or the directory cannot be written to.
    """
    facts = {**_own_place(), "since": time.strftime("%Y-%m-%dT%H:%M:%S")}
    try:
        while not _made(folder, facts):
            holder = refuse_living(folder, say)
            if holder is not None and _removed(folder, holder):
                say(f"{folder}: {_name(holder)}, which worked here, ended without a word; this process takes over")
    except OSError as error:
        raise RunDirectoryError(f"the output directory cannot be written to: {error.strerror}", given=folder) from error
    _clear(folder)
    lock = _Lock(folder.absolute(), facts, os.open(folder, os.O_RDONLY))
    for path in _names(folder):
        _HELD[path] = lock
    threading.Thread(target=lock.beat, daemon=True, name="run lock").start()


def release(folder: Path) -> None:
    """Let go of the lock of a directory, if this process holds it."""
    lock = next((_HELD[path] for path in _names(folder) if path in _HELD), None)
    if lock is None or lock.facts["pid"] != os.getpid():  # a forked worker
        return
    lock.ended.set()
    os.close(lock.directory)
    for path in [path for path, held in _HELD.items() if held is lock]:
        del _HELD[path]
    if _read(lock.folder / LOCK) == lock.facts:
        with suppress(OSError):
            (lock.folder / LOCK).unlink()


def refuse_living(folder: Path, say: Callable[[str], None]) -> Mapping[str, Any] | None:
    """The dead holder of a directory's lock; None where there is no lock.

    Raises:
        RunDirectoryError: the holder lives. Names it, and what to type.
    """
    place = folder / LOCK
    holder = _read(place)
    if holder is None:
        return None
    if any(path in _HELD for path in _names(folder)):
        raise _refusal(folder, holder, "this process already works in the run directory", "wait for its end")
    alive = _lives_here(holder)
    if alive is None:
        alive = _touched(place, holder, say)
    if alive:
        host, pid = holder.get("host", ""), holder.get("pid", "PID")
        end = f"kill {pid}" if host == socket.gethostname() else f"ssh {host or 'HOST'} kill {pid}"
        what = "another process works in the run directory"
        hint = f"wait for its end; or end it, which saves a checkpoint: {end}; or choose another --output-dir"
        raise _refusal(folder, holder, what, hint)
    return holder


def is_held(folder: Path) -> bool:
    """Whether a living process holds the lock of a directory, as far as one look can tell."""
    holder = _read(folder / LOCK)
    if holder is None:
        return False
    alive = _lives_here(holder)
    if alive is not None:
        return alive
    with suppress(OSError):
        return time.time() - (folder / LOCK).stat().st_mtime < 2 * _SILENT_SECONDS  # clocks of machines differ
    return False


def check_held(folder: Path) -> None:
    """Nothing happens where this process holds the directory, or never did.

    Raises:
        RunLostError: it was removed or renamed since, or another process has taken it over.
    """
    lock = _HELD.get(os.path.abspath(folder))
    if lock is None or lock.facts["pid"] != os.getpid():
        return
    try:
        same = os.path.samestat(folder.stat(), os.fstat(lock.directory))
    except OSError:
        same = False
    if not same:
        raise RunLostError(
            "the run directory was removed or renamed while the run was under way",
            given=folder,
            hint="nothing was written there since; move it back, and --resume continues from its last checkpoint",
        )
    holder = _read(folder / LOCK)
    if holder == lock.facts:
        return
    if holder is None:  # somebody removed the file alone
        _made(folder, lock.facts)
        return
    raise RunLostError(
        f"{_name(holder)} has taken over the run directory", given=folder, hint="this process stops; the other goes on"
    )


def _own_place() -> dict[str, Any]:
    """This process, in words that another can look it up by."""
    return {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def _machine() -> str:
    """What is the same for processes that can see each other: the boot of the machine, and the container's processes."""
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str:
    """When a process began, in ticks since the boot: its number is given again after its end. Empty where that is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def _lives_here(holder: Mapping[str, Any]) -> bool | None:
    """Whether the holder lives, where it is a process of this machine; None where it is not."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or holder.get("machine") != _machine() or not isinstance(pid, int):
        return None
    if pid == os.getpid():  # this run's, or that of the program which this process was before
        return any(lock.facts == holder for lock in _HELD.values())
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return _started(pid) == holder.get("started") and not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()[0] == "Z"
    return False


def _touched(place: Path, holder: Mapping[str, Any], say: Callable[[str], None]) -> bool:
    """Whether a holder on another machine touches its lock within the time that a living one takes. No clock is trusted."""
    before = _touch_of(place)
    say(f"{place.parent} is locked by {_name(holder)}: waiting {_SILENT_SECONDS:.0f} s for a sign of life")
    end = time.monotonic() + _SILENT_SECONDS
    while time.monotonic() < end:
        time.sleep(0.5)
        if _touch_of(place) != before:
            return _read(place) is not None
    return False


def _touch_of(place: Path) -> int | None:
    try:
        with place.open("rb"):  # network file systems ask the server then
            return place.stat().st_mtime_ns
    except OSError:
        return None


def _read(place: Path) -> Mapping[str, Any] | None:
    """What a lock says; None where there is none. One that cannot be read says nothing."""
    try:
        facts = json.loads(place.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _made(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Make the lock with its text at once; False where there is one."""
    place = folder / LOCK
    partial = folder / f"{LOCK}.{facts['host']}.{os.getpid()}"
    partial.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    try:
        os.link(partial, place)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        try:
            with place.open("x", encoding="utf-8") as file:
                file.write(json.dumps(facts) + "\n")
        except FileExistsError:
            return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _removed(folder: Path, holder: Mapping[str, Any]) -> bool:
    """Remove the lock of a dead holder; False where another process was faster."""
    place, aside = folder / LOCK, folder / f"{LOCK}.dead.{os.getpid()}"
    try:
        os.rename(place, aside)
    except FileNotFoundError:
        return False
    ours = _read(aside) == holder
    if not ours:  # the lock of one that took over between our look and now
        with suppress(OSError):
            os.link(aside, place)
    aside.unlink(missing_ok=True)
    return ours


def _clear(folder: Path) -> None:
    """Remove what processes left that were killed while they made a lock or took one over."""
    for left in folder.glob(f"{LOCK}.*"):
        pid = left.name.rpartition(".")[2]
        if pid.isdigit() and not _started(int(pid)):
            left.unlink(missing_ok=True)


def _refusal(folder: Path, holder: Mapping[str, Any], what: str, hint: str) -> RunDirectoryError:
    since = f" since {holder['since']}" if holder.get("since") else ""
    return RunDirectoryError(what, given=f"{folder}: {_name(holder)}{since}", hint=hint)


def _name(holder: Mapping[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', 'an unknown host')}"


def _names(folder: Path) -> list[str]:
    return [os.path.abspath(folder), os.path.realpath(folder)]
