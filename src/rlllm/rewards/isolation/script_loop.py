"""The loop of a script that `script_pool` runs: each line of JSON is a question and is answered with one.

The parent keeps the deadline by killing the process, and alone hears Ctrl-C. Should the parent be gone, an alarm ends a
question that would never end; memory is limited, so that `9^9^9^9` fails here before it troubles anyone else.
"""

from __future__ import annotations

import json
import logging
import math
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

_GRACE = 5
"""Seconds past the parent's deadline after which a question ends the process by itself."""
_MEMORY = 4 * 2**30
"""Bytes of address space."""


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer the questions on standard input until it ends; one that raises an exception is `unreadable`."""
    _limit()
    for line in sys.stdin:
        request = json.loads(line)
        signal.alarm(math.ceil(request.get("seconds", 0)) + _GRACE if "seconds" in request else 0)
        try:
            reply = answer(request)
        except Exception as error:
            reply = {"unreadable": f"{type(error).__name__}: {error}"[:200]}
        signal.alarm(0)
        print(json.dumps(reply), flush=True)


def _limit() -> None:
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
