"""What the processes of one run do together apart from training: one works while the others wait, and none outlives a lost one.

A launcher (torchrun, accelerate, srun) starts the processes; torch's store, which they meet at, carries what rank 0 found out.
Waiting has no time limit, since an evaluation may take hours. Every process holds a lock on `RUN/logs/rank-N.json` for as long
as it lives, which ends with it however it ends: rank 0 looks at the others' locks once a second, and they at that of rank 0.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from rlllm.core.errors import RlllmError, describe
from rlllm.core.processes import is_main, rank, world_size
from rlllm.core.runs import Run
from rlllm.core.watchdog import sign

T = TypeVar("T")
INTERRUPTED = "was interrupted"
_CALLS = count()
"""Numbers the calls of `on_main`, which all processes make in the same order."""
_LOOK_SECONDS = 1.0
_NOTICED_SECONDS = 5.0
"""How long after an error a lost process may be found: its end is seen a moment after its connections."""
_END_SECONDS = 20.0
"""How long a process may take to end by itself once another is lost; a launcher kills what is left after 30."""


class ProcessLostError(RlllmError):
    """Another process of the run failed, or ended without a word."""


class Processes:
    """The processes of a run, as one of them sees the others.

    Args:
        run: path of its directory.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder = run / "logs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.alone = False
        """Whether this process goes on without the others: one of them was lost, or it left them with an error of its own."""
        self._stopped = threading.Event()
        self._own = self._place(rank()).open("w", encoding="utf-8")
        with suppress(OSError):  # a file system without locks: the launcher alone watches
            fcntl.lockf(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._say({"host": socket.gethostname(), "pid": os.getpid()})

    def _place(self, number: int) -> Path:
        return self.folder / f"rank-{number}.json"

    def _say(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        self._own.seek(0)
        self._own.truncate()
        self._own.write(json.dumps(facts) + "\n")
        self._own.flush()

    def post_failure(self, error: BaseException) -> None:
        """Let the others know what this process failed by."""
        self._say({**self._facts, "error": INTERRUPTED if isinstance(error, KeyboardInterrupt) else describe(error)})

    def watch(self) -> None:
        """Look after the others from now on, in a thread: an operation over all processes may wait for a lost one for ever."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        others = range(1, world_size()) if is_main() else [0]
        while not self._stopped.wait(_LOOK_SECONDS):
            if any(self.why_lost(other) for other in others):
                if self._stopped.wait(_NOTICED_SECONDS) or self.alone:
                    return
                signal.raise_signal(signal.SIGTERM)  # the main thread may be sampling for an evaluation
                if not self._stopped.wait(_END_SECONDS - _NOTICED_SECONDS) and not self.alone:
                    self.record_loss()
                    print(f"error: {self.loss()}", file=sys.stderr, flush=True)
                    os._exit(1)
                return

    def why_lost(self, number: int) -> str | None:
        """How another process failed or ended; None while it lives, or where it has ended as it should."""
        path = self._place(number)
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if facts.get("ended"):
            return None
        if "error" in facts:
            return str(facts["error"]) if facts["error"] == INTERRUPTED else f"failed: {facts['error']}"
        if self._is_locked(path):
            return None
        return f"ended without a word (process {facts['pid']} on {facts['host']}): killed, perhaps for its memory"

    def lost(self, within: float = 0.0) -> dict[int, str]:
        """Rank -> why, of every other process that is lost; waits so many seconds for a first one."""
        end = time.monotonic() + within
        while True:
            reasons = {number: self.why_lost(number) for number in range(world_size()) if number != rank()}
            found = {number: reason for number, reason in reasons.items() if reason}
            if found or time.monotonic() >= end:
                return found
            time.sleep(0.1)

    def loss(self, within: float = 0.0) -> ProcessLostError | None:
        """The error that names the lost process, of several one that says what it failed by; None where all live."""
        found = self.lost(within)
        if not found:
            return None
        number = min(found, key=lambda number: (not found[number].startswith("failed"), number))
        return ProcessLostError(
            f"rank {number} of {world_size()} {found[number]}",
            given=str(self.folder / f"rank-{number}.log") if number else str(self.run),
            hint="--resume continues from the last checkpoint",
        )

    def record_loss(self) -> None:
        """Write the loss into the run's status, if this process is the first of those that are left and none has done so."""
        error = self.loss()
        run = Run(self.run)
        if error is None or any(number not in self.lost() for number in range(rank())):
            return
        if run.status.get("state") == "running":
            run.set_status("failed", error=error.what)

    def wait_for_main(self) -> None:
        """Wait a moment for the end of rank 0, which may fail by the same and say so.

        Where it waits for this process in an operation over all, it goes on once this process is gone.
        """
        end = time.monotonic() + _NOTICED_SECONDS
        while time.monotonic() < end and self._is_locked(self._place(0)):
            time.sleep(0.1)

    def _is_locked(self, path: Path) -> bool:
        with path.open("r+", encoding="utf-8") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def stop(self) -> None:
        """The others are not watched any more; this one's end is no loss. Its lock goes with the process."""
        self._stopped.set()
        if "error" not in self._facts:
            self._say({**self._facts, "ended": True})
        _HELD.append(self._own)


_CURRENT: Processes | None = None
_HELD: list[Any] = []
"""Locked files of runs that are over."""
_WORKING = False
"""Whether the others wait for this process: what it does then, it does by itself."""


def join(settings: Mapping[str, Any]) -> None:
    """Meet the other processes of this run. Nothing happens for one process, or the second time.

    The process group is accelerate's own: `gloo` on a CPU, `nccl` on NVIDIA GPUs, or what its environment asks for.

    Args:
        settings: `backend`, and `timeout` of an operation over all processes in seconds; torch's own where they are missing.
    """
    if world_size() == 1:
        return
    import torch

    if torch.distributed.is_initialized():
        return
    from accelerate import PartialState

    os.environ.setdefault("LOCAL_RANK", str(rank()))
    limit = {"timeout": timedelta(seconds=settings["timeout"])} if "timeout" in settings else {}
    PartialState(cpu=not torch.accelerator.is_available(), backend=settings.get("backend"), **limit)


def on_main(work: Callable[[], T]) -> T:
    """Rank 0 works, and every process returns its result or raises its error. All processes call it in the same order.

    Args:
        work: its result can be pickled.
    """
    global _WORKING
    if world_size() == 1 or _WORKING or (_CURRENT is not None and _CURRENT.alone):
        return work()
    key, store = f"rlllm/{next(_CALLS)}", _store()
    if is_main():
        _WORKING = True
        try:
            result = work()
        except BaseException as error:
            store.set(key, pickle.dumps((False, _portable(error))))
            raise
        finally:
            _WORKING = False
        store.set(key, pickle.dumps((True, result)))
        return result
    _wait(lambda: store.check([key]))
    done, value = pickle.loads(store.get(key))
    if not done:
        raise value
    return value


def of_all(value: T) -> list[T]:
    """The values of all processes, by rank. All processes call it in the same order.

    Args:
        value: of this process; it can be pickled.
    """
    if world_size() == 1 or (_CURRENT is not None and _CURRENT.alone):
        return [value]
    key, store = f"rlllm/{next(_CALLS)}", _store()
    places = [f"{key}/{number}" for number in range(world_size())]
    store.set(places[rank()], pickle.dumps(value))
    _wait(lambda: store.check(places))
    return [pickle.loads(store.get(place)) for place in places]


def meet() -> None:
    """Wait until every process is here, without a time limit."""
    if world_size() == 1 or (_CURRENT is not None and _CURRENT.alone):
        return
    key, store = f"rlllm/{next(_CALLS)}", _store()
    store.add(key, 1)
    _wait(lambda: store.add(key, 0) >= world_size())


def _wait(ready: Callable[[], bool]) -> None:
    pause = 0.01
    while not ready():
        if _CURRENT is not None and (error := _CURRENT.loss()):
            raise error
        sign()  # the others have watchdogs of their own
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


def _store() -> Any:
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()


def _portable(error: BaseException) -> BaseException:
    """The error itself where another process can read it, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RlllmError(describe(error))
    return error


@contextmanager
def together(open_run: Callable[[], Run], settings: Mapping[str, Any]) -> Iterator[Run]:
    """The run directory that rank 0 opens, for all processes of the run; the others only read it.

    A run inside a run is opened likewise; its processes are watched already.

    Args:
        open_run: makes or reopens the directory; called in rank 0.
        settings: as for `join`.

    Raises:
        RlllmError: the directory cannot be had, or not all processes see it.
    """
    global _CURRENT
    if world_size() == 1:
        yield open_run()
        return
    join(settings)
    path = on_main(lambda: _without_traces(open_run()))
    run = Run(path, writes=is_main())
    if _CURRENT is not None:
        yield run
        return
    if not (path / "status.json").exists():
        raise RlllmError(
            f"rank {rank()} does not see the run directory that rank 0 made",
            given=str(path),
            hint="--output-dir in a folder that all machines share",
        )
    _CURRENT = current = Processes(path)
    if not is_main():
        _log_into(current.folder / f"rank-{rank()}.log")
    try:
        meet()
        current.watch()
        yield run
        meet()
    finally:
        current.stop()
        _CURRENT = None


def _without_traces(run: Run) -> Path:
    """The path of a run's directory, in which processes of an earlier start are not found any more."""
    if _CURRENT is None:
        for path in (run.path / "logs").glob("rank-*.json"):
            path.unlink(missing_ok=True)
    return run.path.resolve()


def settled(error: BaseException) -> BaseException:
    """The error by which a run ends here: that another process was lost, where this is why; else the error itself.

    The other processes are told. Those that wait for this one in an operation over all of them fail when it has ended.
    """
    current = _CURRENT
    if current is None:
        return error
    loss = error if isinstance(error, ProcessLostError) else lost_process(error)
    current.alone = True
    if loss is not None:
        current.record_loss()
        return loss
    current.post_failure(error)
    if not is_main():
        current.wait_for_main()
    return error


def lost_process(error: BaseException) -> ProcessLostError | None:
    """The loss of another process that made an operation over all of them fail; None where the error is this one's own."""
    if _CURRENT is None or isinstance(error, RlllmError):
        return None
    interrupted = isinstance(error, KeyboardInterrupt)  # perhaps by the launcher, which ends what is left of a run
    loss = _CURRENT.loss(_LOOK_SECONDS if interrupted else _NOTICED_SECONDS)
    if loss is None or (interrupted and loss.what.endswith(INTERRUPTED)):
        return None
    _CURRENT.alone = True
    return loss


def go_on_alone(error: BaseException) -> None:
    """Rank 0 ends the run by itself after an error that is its own, and the others fail by it; in another rank it is raised."""
    if _CURRENT is None:
        return
    if not is_main():
        raise error
    _CURRENT.post_failure(error)
    _CURRENT.alone = True


def ends_alone() -> bool:
    """Whether this process is about to end by itself, and writes down why: a signal of the launcher changes nothing then."""
    return _CURRENT is not None and _CURRENT.alone


def _log_into(path: Path) -> None:
    """Write what this process prints, and what libraries print below Python, into a file."""
    with path.open("a", encoding="utf-8") as file:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            with suppress(ValueError, OSError):
                stream.flush()
            os.dup2(file.fileno(), number)
