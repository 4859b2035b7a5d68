"""Lines of a file in any order, without holding them in memory: 8 bytes a line are kept."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_BUFFER = 1 << 20


class LineStore:
    """A file of lines, written once. The context manager closes it; the file is deleted with its folder."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=_BUFFER)
        self._ends = array("Q", [0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def extend(self, lines: Iterable[bytes]) -> None:
        """Append lines, each with its line break."""
        for line in lines:
            self._file.write(line)
            self._ends.append(self._ends[-1] + len(line))

    def lines(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """The lines of these numbers, counted from 0, in this order."""
        self._file.flush()
        place = self._file.fileno()
        for number in numbers:
            begin = self._ends[number]
            yield os.pread(place, self._ends[number + 1] - begin, begin)  # a seek would fill the whole buffer each time
