"""A reward with a deadline runs in a process of its own, which is killed when the time is up.

A thread would not do: it cannot be ended, and a regular expression that backtracks or a power of big integers holds the
interpreter's lock, so that no other thread runs. The cost is a copy of what the reward loads, its start (about 0.3 s and
whatever it imports), and some 0.1 ms for each call. A killed process is started again for the next sample; what the reward
had in memory is lost.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Lock
from typing import IO

from rlllm.core.errors import RewardError, RlllmError
from rlllm.core.records import Sample, Score
from rlllm.core.watchdog import scoring_sample
from rlllm.rewards.bound import BoundReward
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.isolation.worker import Ready
from rlllm.rewards.score_parsing import Failure, late

_START_SECONDS = 120.0
"""For the process to import what the reward imports."""
_GRACE = 2.0
"""Seconds after a deadline until a process that did not end itself is killed."""
_BOOT = "import sys; sys.path[:] = sys.argv[3:]; from rlllm.rewards.isolation.worker import main; main()"


def in_own_process(spec: RewardSpec, bound: BoundReward) -> BoundReward:
    """The same reward, called in a child process that is killed at the deadline."""
    child = _RewardProcess(spec, bound)
    return replace(
        bound,
        score_sample=None,
        score_batch=child.score_batch,
        target=None,
        release=child.stop,
        process_id=lambda: child.process_id,
    )


@dataclass(frozen=True)
class _Child:
    """A running process and the parent's ends of what it shares with it."""

    process: subprocess.Popen[bytes]
    connection: Connection
    dump: IO[bytes]
    """Where the watchdog writes the stack of a reward that is late."""
    file: str | None = None


class _RewardProcess:
    """One reward in one child process, started with the first batch. Several threads may call it; they take turns.

    Args:
        spec: by which the child loads the reward.
        bound: the same reward as this process sees it, with its deadline.
    """

    def __init__(self, spec: RewardSpec, bound: BoundReward) -> None:
        assert bound.deadline is not None
        self._spec, self._bound, self._deadline = spec, bound, bound.deadline
        self._child: _Child | None = None
        self._end: weakref.finalize[..., _RewardProcess] | None = None
        self._lock = Lock()

    @property
    def process_id(self) -> int | None:
        return self._child.process.pid if self._child else None

    def score_batch(self, samples: Sequence[Sample]) -> list[Score | Failure]:
        """One result for each sample; a `Failure` for one that is late, or that ends the process.

        Raises:
            RewardError: the process does not start, or the reward's code is no longer what the run began with.
            RlllmError: the reward found its own setup wrong.
        """
        with self._lock:
            try:
                return self._scored(samples)
            except RlllmError:
                raise
            except BaseException:  # Ctrl-C: the reply that is on its way belongs to nobody
                self.stop()
                raise

    def stop(self) -> None:
        """End the child process and what it started; the next batch starts another."""
        if self._end is not None:
            self._end()
        self._child = self._end = None

    def _scored(self, samples: Sequence[Sample]) -> list[Score | Failure]:
        if self._bound.score_sample is not None or not samples:
            return self._singly(samples)
        results = self._ask(samples, self._deadline * ceil(len(samples) / self._bound.concurrency))
        if not isinstance(results, Failure):
            return results
        if self._bound.concurrency > 1:  # one of many that were awaited at once blocked their loop: which one?
            return self._singly(samples)
        return [results] * len(samples)

    def _singly(self, samples: Sequence[Sample]) -> list[Score | Failure]:
        """Sample by sample. Where too many of a batch cost their process, the rest is not waited for."""
        results: list[Score | Failure] = []
        lost, bearable = 0, max(3, len(samples) // 16)
        for sample in samples:
            if lost == bearable:
                results.append(Failure(f"was not asked: {lost} samples of the batch before it had cost their process"))
                continue
            scoring_sample(sample.prompt, sample.completion)
            answer = self._ask([sample], self._deadline)
            lost += isinstance(answer, Failure)
            results.append(answer if isinstance(answer, Failure) else answer[0])
        return results

    def _ask(self, samples: Sequence[Sample], seconds: float) -> list[Score | Failure] | Failure:
        """The child's results; a `Failure` if it was lost over them."""
        child = self._child or self._start()
        start = time.perf_counter()
        try:
            child.connection.send((samples, seconds))
            reply = child.connection.recv() if child.connection.poll(seconds + _GRACE) else None
        except (EOFError, OSError):
            reply = None
        except Exception as error:  # a column of the row that cannot be pickled
            raise RewardError(
                f"the reward {self._bound.name} runs in a process of its own, which cannot be given this row: {error}",
                given=f"columns {', '.join(samples[0].meta)}",
                hint="deadline: 0 runs the reward in the main process, without a limit of time",
            ) from error
        if reply is None:
            return self._loss(child, time.perf_counter() - start, seconds)
        if isinstance(reply, RlllmError):
            raise reply
        return reply

    def _loss(self, child: _Child, elapsed: float, seconds: float) -> Failure:
        _end_group(child)
        place, code = _place(child), child.process.returncode
        self.stop()
        if elapsed >= seconds:
            return late(seconds, elapsed, place)
        end = f"with code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"
        return Failure(f"ended its process {end}", elapsed)

    def _start(self) -> _Child:
        child = _launch()
        self._end = weakref.finalize(self, _kill, child, os.getpid())
        try:
            child.connection.send(self._spec)
            ready = child.connection.recv() if child.connection.poll(_START_SECONDS) else None
        except (EOFError, OSError):
            ready = None
        if not isinstance(ready, Ready) or ready.fingerprint != self._bound.fingerprint:
            self.stop()
            raise ready if isinstance(ready, RlllmError) else self._misfit(ready)
        self._child = replace(child, file=ready.file)
        return self._child

    def _misfit(self, ready: Ready | None) -> RewardError:
        if ready is None:
            return RewardError(
                f"the process of the reward {self._bound.name} does not start, or not within {_START_SECONDS:g} s",
                hint="what it wrote stands above; deadline: 0 runs the reward in the main process",
            )
        return RewardError(
            f"the code of the reward {self._bound.name} is no longer what the run began with",
            given=ready.file,
            hint="its scores would not compare with the earlier ones: start a new run",
        )


def _launch() -> _Child:
    """Start a child in a session of its own: a terminal's Ctrl-C is for the parent, and the whole group can be killed."""
    here, there = Pipe()
    dump = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the child lives
    descriptors = (there.fileno(), dump.fileno())
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, *map(str, descriptors), *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=2,  # stdout is for results; what a reward prints is for a reader
            pass_fds=descriptors,
            start_new_session=True,
        )
    finally:
        there.close()
    return _Child(process, here, dump)


def _kill(child: _Child, owner: int) -> None:
    if os.getpid() != owner:  # a fork drops its copy; the process is the parent's
        return
    _end_group(child)
    child.connection.close()
    child.dump.close()


def _end_group(child: _Child) -> None:
    if child.process.returncode is None:  # not waited for yet, so that the number cannot be another process's
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def _place(child: _Child) -> str:
    """Where in the reward's file the watchdog found it."""
    child.dump.seek(0)
    stacks = child.dump.read().decode("utf-8", "replace")
    match = re.search(rf'File "{re.escape(child.file)}", line (\d+)', stacks) if child.file else None
    return f" ({Path(child.file or '').name}, line {match[1]})" if match else ""
