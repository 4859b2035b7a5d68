"""Text files, compressed or not, read in bounded memory: a line has a longest length, and a compressed file a largest ratio."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, AnyStr, BinaryIO

from rlllm.core.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MIB = 2**20
_CHUNK = 2**17
LONGEST_LINE = 64 * MIB
"""Bytes of a line of JSON or of a table (characters of a table's): images of a row in base64 fit in."""
_LARGEST_RATIO = 200
"""Unpacked size of a gzip file over its packed size: rows of text reach 5 to 20, and a file of zeros 1,000."""
_UNQUESTIONED = 64 * MIB
"""Unpacked size up to which the ratio does not count."""


def open_bytes(path: Path) -> BinaryIO:
    """A file's bytes, unpacked where it ends in `.gz`. Reading raises DataError where it unpacks to far more than rows do."""
    return io.BufferedReader(_Unpacked(path), _CHUNK) if path.suffix.lower() == ".gz" else path.open("rb")


def lines_of(readline: Callable[[int], AnyStr], path: Path, before: int = 0) -> Iterator[AnyStr]:
    """The lines of a file, one at a time.

    Args:
        readline: of the open file.
        path: for messages.
        before: lines that were read already.

    Raises:
        DataError: a line is longer than `LONGEST_LINE`.
    """
    number = before
    while line := readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise DataError(
                f"line {number} is longer than {LONGEST_LINE // MIB} MiB, the most that a row may have",
                given=path,
                hint="is it one JSON list? then name it .json; large images belong into files of their own",
            )
        yield line


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a gzip file, as long as there are not suspiciously many."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packed = path.open("rb")
        self._gzip = gzip.GzipFile(fileobj=self._packed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._gzip.seek(offset, whence)

    def tell(self) -> int:
        return self._gzip.tell()

    def readinto(self, buffer: WriteableBuffer) -> int:
        read = self._gzip.readinto(buffer)
        unpacked, packed = self._gzip.tell(), max(self._packed.tell(), 1)
        if unpacked > _UNQUESTIONED and unpacked > _LARGEST_RATIO * packed:
            raise DataError(
                f"{packed / MIB:.1f} MiB of the compressed file unpack to more than {unpacked // MIB} MiB: "
                f"more than {_LARGEST_RATIO} times, which no rows of text do",
                given=self._path,
                hint="gunzip it yourself, if you trust it",
            )
        return read

    def close(self) -> None:
        self._gzip.close()
        self._packed.close()
        super().close()
