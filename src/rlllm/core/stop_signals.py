"""The signals by which a run is told to end. All are what Ctrl-C is: a checkpoint is saved, and the status written."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""Ctrl-C; `docker stop`, Kubernetes, `timeout`, Slurm; a terminal that closes; `sbatch --signal=USR1`."""


def stop_signals() -> list[signal.Signals]:
    """Those that end a run here. SIGHUP is none where it is ignored, as under `nohup`."""
    found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return [number for number in found if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN]


def caught(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    """Give all of them a handler; the handlers before, for `put_back`. Empty outside the main thread, where none is caught."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in stop_signals()}


def put_back(before: dict[signal.Signals, Any]) -> None:
    global _STOP
    for number, handler in before.items():
        signal.signal(number, handler)
    _STOP = None


def stop_at_once(*why: str) -> NoReturn:
    """Raise KeyboardInterrupt in a handler, and remember it: code of a user may have a bare `except:`."""
    global _STOP
    _STOP = KeyboardInterrupt(*why)
    raise _STOP


def raise_swallowed_stop() -> None:
    """Raise the last KeyboardInterrupt of `stop_at_once` once more, if there was one since `put_back`."""
    if _STOP is not None:
        raise _STOP


_STOP: KeyboardInterrupt | None = None


class Deadline:
    """Sends a signal to the main thread of this process after some seconds, wherever Python computes or sleeps there.

    Args:
        seconds: from now.
        number: the signal, which has a handler.
    """

    def __init__(self, seconds: float, number: int) -> None:
        self.passed = False
        self._number = number
        self._timer = threading.Timer(seconds, self._send)
        self._timer.daemon = True
        self._timer.start()

    def _send(self) -> None:
        self.passed = True
        main = threading.main_thread().ident
        if main is not None:  # to that thread: a signal that this one gets would not end the other's sleep
            signal.pthread_kill(main, self._number)

    def call_off(self) -> None:
        """Send it no more. Where it is being sent, it has arrived afterwards."""
        self._timer.cancel()
        self._timer.join()


@contextmanager
def like_ctrl_c(unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Each of the signals raises KeyboardInterrupt in the block.

    Args:
        unless: True where a signal changes nothing any more.
    """
    own = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != own:  # a worker that was forked: the signal is to end it
            os._exit(128 + number)
        if not unless():
            stop_at_once()

    before = caught(interrupt)
    try:
        yield
    finally:
        put_back(before)
