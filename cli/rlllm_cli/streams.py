"""The streams of the program: a pipe that closes, or a full disk behind it, costs what is printed and not the run."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Lossy:
    """A text stream whose writing never fails. After the first failure everything goes nowhere, also below Python.

    Args:
        stream: what is written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.error = self.error or error
        with suppress(OSError, ValueError):  # a stream of Python's own has no number
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # what is still in a buffer goes there as well
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def kept() -> Iterator[Lossy]:
    """Streams that cannot end the program, in the block; what goes to stdout is given, for `lost`."""
    _open_closed()
    before = sys.stdout, sys.stderr
    out, err = Lossy(before[0]), Lossy(before[1])
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def lost(stream: Lossy) -> str | None:
    """Why what was printed did not arrive; None where it did, or where its reader went away, as `head` does."""
    stream.flush()
    if stream.error is None or stream.error.errno == errno.EPIPE:
        return None
    return stream.error.strerror or str(stream.error)


def _open_closed() -> None:
    """Open what was closed (`2>&-`): else the next file that is opened would get its number, and what libraries print."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace"))
