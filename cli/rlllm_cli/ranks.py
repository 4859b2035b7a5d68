"""A process that is not the first of its run says nothing on the console. What it prints is logged once the run has begun."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

_LATER_SECONDS = 3.0


class Console:
    """The console of a process that was started by a launcher; made before anything is printed."""

    def __init__(self) -> None:
        from rlllm.core.processes import is_main, rank

        self._rank = rank()
        self._stderr = -1
        if is_main():
            return
        self._stderr = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            with suppress(ValueError, OSError):
                stream.flush()
            os.dup2(nowhere, number)
        os.close(nowhere)

    def last_word(self, text: str) -> None:
        """Say why this process ends, where nothing logs it: the first may have had no such error.

        It ends later than the first, which a launcher would not let finish its sentence.
        """
        if self._stderr >= 0 and os.path.samestat(os.fstat(2), os.stat(os.devnull)):
            time.sleep(_LATER_SECONDS)
            from rlllm_cli.console import said

            os.write(self._stderr, f"rank {self._rank}: {said(text)}\n".encode())
