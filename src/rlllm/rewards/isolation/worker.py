"""The child process in which a reward with a deadline runs; `process` is the parent's end.

It answers each batch with one list of results. Before a call it sets faulthandler's watchdog, a thread in C: when the time is
up, that writes every thread's stack and ends the process, even while a regular expression or a big integer holds the
interpreter's lock, and even if the parent is gone.
"""

from __future__ import annotations

import faulthandler
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from rlllm.core import errors
from rlllm.core.errors import RlllmError
from rlllm.core.records import Sample, Score
from rlllm.rewards.binding import bind
from rlllm.rewards.bound import BoundReward
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.registry import REWARDS
from rlllm.rewards.score_parsing import Failure, scored


@dataclass(frozen=True, slots=True)
class Ready:
    """First message of the child: which code it runs."""

    fingerprint: str
    file: str | None
    """Source file of the reward, where there is one."""


def main() -> None:
    """Serve one reward until the parent hangs up. Arguments: the connection's descriptor, and that of the watchdog's file."""
    wire, dump = (int(number) for number in sys.argv[1:3])
    for descriptor in (wire, dump):
        os.set_inheritable(descriptor, False)
    connection = Connection(wire)
    try:
        spec: RewardSpec = connection.recv()
        try:
            bound = bind(spec, spec.name)
            connection.send(Ready(bound.fingerprint, _file(spec)))
        except RlllmError as error:
            connection.send(_portable(error))
            return
        while True:
            samples, seconds = connection.recv()
            connection.send(_answer(bound, samples, seconds, dump))
    except (EOFError, ConnectionError):
        return


def _answer(
    bound: BoundReward, samples: Sequence[Sample], seconds: float, dump: int
) -> list[Score | Failure] | RlllmError:
    faulthandler.dump_traceback_later(seconds, exit=True, file=dump)
    try:
        return scored(bound.score_sample, bound.score_batch, samples)
    except RlllmError as error:
        return _portable(error)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _file(spec: RewardSpec) -> str | None:
    target: Any = REWARDS.load(spec.name)
    try:
        return inspect.getsourcefile(target if inspect.isroutine(target) or isinstance(target, type) else type(target))
    except TypeError:
        return None


def _portable(error: RlllmError) -> RlllmError:
    """The same error without what may not travel: the parent cannot load a class or a value from the reward's file."""
    own_class = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    given = None if error.given is None else str(error.given)
    return own_class(error.what, given=given, exists=error.exists, hint=error.hint)
