"""The `math` reward: equality as mathematics, decided by math-verify in a process of its own.

math-verify stops a comparison that takes too long through SIGALRM, which works on the main thread only and never inside
a long integer operation (`9^9^9^9`). A worker process that is killed works everywhere, and keeps sympy out of this one.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Lock, Timer
from typing import Any

from rlllm.core.answers import extract_answer
from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.verifiers import NO_REFERENCE, reference_answer

START_SECONDS = 120.0


@dataclass(frozen=True)
class Math:
    """1 if math-verify finds the final answer equal to the reference, else 0; None when it cannot read the reference.

    The marked answer is compared; without a marker math-verify looks for one in the whole completion. An answer that it
    cannot read, or that takes longer than `timeout` seconds to compare, is worth 0.0 and noted.

    Args:
        timeout: seconds for one reading or comparison.
    """

    timeout: float = 5.0

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ConfigError("math: timeout must be positive", given=self.timeout)

    def __call__(self, sample: Sample) -> Score:
        reference = reference_answer(sample)
        if reference is None:
            return Score(None, note=NO_REFERENCE)
        worker = _worker(os.getpid())
        gold = _boxed(reference)
        if not worker.ask({"gold": gold}, self.timeout).get("gold"):
            return Score(None, note=f"math-verify cannot read the reference: {reference[:80]}")
        marked = extract_answer(sample.completion)
        answer = _boxed(marked) if marked else sample.completion
        reply = worker.ask({"gold": gold, "answer": answer}, self.timeout)
        if "equal" in reply:
            return Score(float(reply["equal"]), parsed=marked or reply["answer"])
        note = "unreadable answer" if reply else f"the comparison took longer than {self.timeout:g} s"
        return Score(0.0, parsed=marked, note=note)


def _boxed(answer: str) -> str:
    r"""math-verify reads `\boxed{}` as LaTeX whole, and plain text only in part."""
    return f"\\boxed{{{answer}}}"


class _Worker:
    """One child process that answers one JSON line with another; started on first use and after a timeout."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def ask(self, request: dict[str, str], timeout: float) -> dict[str, Any]:
        """The worker's reply; empty if it took longer than `timeout` seconds.

        Raises:
            RuntimeError: the worker died, or does not start.
        """
        with self._lock:
            if self._process is None and not self._exchange(self._start(), {}, START_SECONDS):
                raise RuntimeError(f"math-verify's process did not start within {START_SECONDS:g} s")
            assert self._process is not None
            return self._exchange(self._process, request, timeout)

    def stop(self) -> None:
        """End the child process; the next question starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        script = str(Path(__file__).with_name("math_worker.py"))
        self._process = subprocess.Popen(
            # -P: beside the script lies a math.py that must not hide the standard library's.
            [sys.executable, "-P", "-W", "ignore", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        return self._process

    def _exchange(self, process: subprocess.Popen[str], request: dict[str, str], timeout: float) -> dict[str, Any]:
        late = Event()

        def expire() -> None:
            late.set()
            process.kill()

        timer = Timer(timeout, expire)
        timer.start()
        reply = _send(process, json.dumps(request))
        timer.cancel()
        if late.is_set():
            self.stop()
        elif reply is None:
            self.stop()
            raise RuntimeError(f"math-verify's process ended with code {process.returncode}")
        return reply or {}


def _send(process: subprocess.Popen[str], line: str) -> dict[str, Any] | None:
    """The reply to one line; None if the process ended before it gave a whole one."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        reply = process.stdout.readline()
    except BrokenPipeError:
        return None
    return json.loads(reply) if reply.endswith("\n") else None


@cache
def _worker(_process_id: int) -> _Worker:
    """The worker of this process; a fork gets its own, since two readers of one pipe would mix up answers."""
    worker = _Worker()
    atexit.register(worker.stop)
    return worker
