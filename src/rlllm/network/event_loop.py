"""Event loops in daemon threads, on which whatever is `async` in rlllm is awaited from code that is not.

So it works wherever it is called from, a notebook's running loop included, and blocks neither Ctrl-C nor the end of the
process. A loop lives as long as the process: clients that are bound to a loop keep their connections.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from functools import cache
from threading import Thread
from typing import Any


def run_on(loop: str, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await on one of the process's own loops, made with its first use. Ctrl-C cancels what is awaited.

    Args:
        loop: `rewards` for what a user wrote, `http` for requests: a reward on one loop may wait for the other.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop(loop, os.getpid()))
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


@cache
def _loop(name: str, _process_id: int) -> asyncio.AbstractEventLoop:
    """A loop of this process; a fork has none of its parent's threads, so it gets its own."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name=f"rlllm-{name}", daemon=True).start()
    return loop
