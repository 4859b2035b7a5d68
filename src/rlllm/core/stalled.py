"""A run under its watchdog, and the report on one without progress: `python -m rlllm.core.stalled RUN PID RANK SECONDS`.

The report works from outside, since nothing of Python may run in the process itself: it asks every process of the run on this
machine for its stacks, by a signal that a handler in C answers, and writes `RUN/logs/stalled-rank-N.txt` and the run's status.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from rlllm.core.errors import RunDirectoryError, StalledError
from rlllm.core.processes import rank, world_size
from rlllm.core.redaction import without_own_secrets
from rlllm.core.runs import Run, read_run_file, write_json
from rlllm.core.watchdog import REPORT_SECONDS, SIGN, STACKS, watching

_ANSWER_SECONDS = 0.4
"""How long a process may take to write its stacks."""


def watched(run: Path, seconds: float) -> AbstractContextManager[None]:
    """In the block, this process ends with a report once the run shows no sign of progress for so long; 0 watches nothing."""
    report = [sys.executable, "-m", __name__, str(run.absolute()), str(os.getpid()), str(rank()), f"{seconds:g}"]
    return watching(seconds, report)


def _main(arguments: list[str]) -> None:
    run, pid, rank, seconds = Run(Path(arguments[0])), int(arguments[1]), arguments[2], float(arguments[3])
    end = time.monotonic() + REPORT_SECONDS - 1
    before = _sign_of(pid)
    place = run.path / "logs" / f"stalled-rank-{rank}.txt"
    who, stuck = _stuck(run, rank, before)
    what = f"no progress for {seconds:g} s{_where(stuck)}" + (f", in rank {who}" if world_size() > 1 else "")
    text = "\n".join([f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {what}", *_facts(stuck), "", *_stacks(run, pid)])
    with suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        place.write_text(without_own_secrets(text) + "\n", encoding="utf-8", errors="backslashreplace")
    while time.monotonic() < end and _lives(pid):
        time.sleep(0.1)
    if (now := _sign_of(pid)) and now != before:  # it was stopped, or slow, and goes on
        with suppress(OSError):
            place.unlink()
        return
    error = stalled_error(run, place, what)
    with suppress(OSError):
        if run.status.get("state") == "running":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
            write_json(run.path / "status.json", {**run.status, "state": "failed", "time": stamp, "error": error.what})
    print(f"\nerror: {error}", file=sys.stderr, flush=True)


def stalled_error(run: Run, place: Path, what: str) -> StalledError:
    """The error of a run without progress, with what is kept of it.

    Args:
        run: its directory.
        place: of the report.
        what: where it stood, in words.
    """
    checkpoint = run.latest_checkpoint()
    kept = f"{checkpoint.name} is whole, and " if checkpoint else ""
    way = "the same command with --resume goes on; watchdog=SECONDS allows more time without progress, watchdog=0 any"
    return StalledError(what, given=place, hint=kept + way)


def _stuck(run: Run, rank: str, sign: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The rank that the others wait for, with its last sign: one that scores completions, else this one."""
    others = {name: _sign_of(pid) for name, pid in _ranks(run).items() if name != rank}
    return next(((name, at) for name, at in {rank: sign, **others}.items() if at.get("work")), (rank, sign))


def _where(sign: Mapping[str, Any]) -> str:
    """The phase, the step and the work of the last sign, in words."""
    step, work = sign.get("step"), sign.get("work") or {}
    phase = f", {sign['phase']}" if sign.get("phase") else ""
    after = f" after step {step}" if step and sign.get("phase") == "training" else ""
    judged = f", while the reward {work['reward']} scored a completion" if work.get("completion") is not None else ""
    judged = judged or (f", while the reward {work['reward']} scored {work['samples']} completions" if work else "")
    return phase + after + judged


def _facts(sign: Mapping[str, Any]) -> Iterator[str]:
    work = sign.get("work") or {}
    for name in ("reward", "prompt", "completion"):
        if work.get(name) is not None:
            yield f"{name}: {json.dumps(work[name], ensure_ascii=False)}"


def _stacks(run: Run, pid: int) -> Iterator[str]:
    """Every process of the run on this machine, with its stacks where it can write them."""
    for process in _processes(run, pid):
        state, name = _state(process)
        yield f"process {process} ({name}), {state}"
        yield _asked(process) or "  no stacks: it runs no Python, or does not answer"
        yield ""


def _processes(run: Run, pid: int) -> list[int]:
    """This process's, its children and theirs, then the other ranks with theirs; but for those that write the report."""
    parents = _parents()
    found: list[int] = []
    for root in dict.fromkeys([pid, *_ranks(run).values()]):
        waiting = [root]
        while waiting:
            process = waiting.pop(0)
            if process in parents and process not in found and not _reports(process):
                found.append(process)
                waiting += [child for child, parent in parents.items() if parent == process]
    return found


def _reports(pid: int) -> bool:
    """Whether a process writes a report, as this one does."""
    with suppress(OSError):
        return f"-m\0{__spec__.name}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _ranks(run: Run) -> dict[str, int]:
    """Rank -> its process, of those on this machine."""
    found = {}
    for path in sorted((run.path / "logs").glob("rank-*.json")):
        with suppress(RunDirectoryError, OSError):
            facts = read_run_file(path)
            if facts.get("host") == os.uname().nodename and isinstance(facts.get("pid"), int):
                found[path.stem.removeprefix("rank-")] = facts["pid"]
    return found


def _parents() -> dict[int, int]:
    """Process -> its parent."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(path.name)] = int(_after_name(path)[1])
    return found


def _after_name(process: Path) -> list[str]:
    """The fields of `/proc/PID/stat` behind the name, which may hold anything."""
    return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _state(pid: int) -> tuple[str, str]:
    """What the kernel says of a process: its state with where it waits and its CPU time, and its name."""
    path = Path(f"/proc/{pid}")
    with suppress(OSError):
        fields = _after_name(path)
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        waits = (path / "wchan").read_text(encoding="ascii").strip("0") if (path / "wchan").exists() else ""
        name = (path / "comm").read_text(encoding="utf-8", errors="replace").strip()
        return f"state {fields[0]}{waits and ' in ' + waits}, {cpu:.1f} s of CPU time", name
    return "ended", "?"


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return _after_name(Path(f"/proc/{pid}"))[0] != "Z"
    return False


def _asked(pid: int) -> str:
    """The stacks that a process writes when it is asked; empty where it has no handler for that."""
    with suppress(OSError):
        if not _catches(pid):
            return ""
        with _memory_file(pid, STACKS).open("rb") as file:
            start = file.seek(0, os.SEEK_END)
            os.kill(pid, signal.SIGUSR2)
            end = time.monotonic() + _ANSWER_SECONDS
            size = start
            while time.monotonic() < end:
                time.sleep(0.05)
                if (now := os.fstat(file.fileno()).st_size) == size > start:
                    break
                size = now
            file.seek(start)
            return file.read().decode("utf-8", errors="replace").rstrip()
    return ""


def _catches(pid: int) -> bool:
    """Whether a process has a handler for the signal, which would end it otherwise."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1)
    return False


def _memory_file(pid: int, name: str) -> Path:
    """A file in the memory of a process. Raises FileNotFoundError where it has none of this name."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if os.readlink(path).startswith(f"/memfd:{name} "):
                return path
    raise FileNotFoundError(name)


def _sign_of(pid: int) -> Mapping[str, Any]:
    """The last sign of progress of a process; nothing where it cannot be read."""
    with suppress(OSError, ValueError):
        with _memory_file(pid, SIGN).open("rb") as file:
            line = file.readline()
        return json.loads(line)
    return {}


if __name__ == "__main__":
    _main(sys.argv[1:])
