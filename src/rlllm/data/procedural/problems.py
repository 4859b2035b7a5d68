"""`Problem`, and the stream of problems of a level. A tier (task and level) is a function from a random generator to a problem.

The hash of a problem's `key` decides its split. The key leaves out the wording and the order of commuting operands, so no
problem is in both splits, whatever the seeds. One key in five is held out.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from rlllm.core.errors import ConfigError
from rlllm.core.records import Prompt, Sample
from rlllm.data.request import DataRequest, Split

_HOLDOUT_IN = 5
_PATIENCE = 60
"""Draws of known problems in a row after which a tier counts as exhausted."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Worked steps, each in a short and a long wording, and the answer they lead to."""

    steps: tuple[tuple[str, str], ...]
    answer: str
    ending: str = "#### {answer}"
    """The last line."""
    broken_endings: tuple[str, ...] = (
        "Answer: {answer}",
        "So it is {answer}.",
        "#### {answer}\nThat is it.",
        "#### {answer}\n#### {answer}",
    )
    """Last lines without a marked answer, or with something behind it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its wording, its answer, and a way to work it out with or without a slip."""

    task: str
    level: int
    key: str
    prompt: Prompt
    answer: str
    solve: Callable[[random.Random, bool], Solution] = field(compare=False)
    """(generator, slip) -> solution; with `slip` its answer is wrong."""
    tricky: bool = False
    """True where the writer's usual mistake is possible, such as forgetting a carry."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def meta(self) -> dict[str, Any]:
        """The columns every record of this problem carries."""
        return {"task": self.task, "level": self.level, **self.extra}

    def sample(self, completion: str) -> Sample:
        """A completion of this problem, ready to be scored."""
        return Sample(self.prompt, completion, self.answer, self.meta)


Draw = Callable[[random.Random], Problem]


class _Keyed(Protocol):
    """What has a key that decides its split."""

    @property
    def key(self) -> str: ...


_Drawn = TypeVar("_Drawn", bound=_Keyed)
_Item = TypeVar("_Item")


def split_of(key: str) -> Split:
    """The split a problem belongs to: held out if the first 64 bits of its key's SHA-256 divide by five."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return "holdout" if number % _HOLDOUT_IN == 0 else "train"


def stream(draw: Callable[[random.Random], _Drawn], split: Split, seed: str) -> Iterator[_Drawn]:
    """Problems of one split without repetition. Once all are used, train starts over and the held-out split ends."""
    generator = random.Random(seed)
    seen: set[str] = set()
    misses = 0
    while True:
        problem = draw(generator)
        if split_of(problem.key) != split:
            continue
        if problem.key in seen:
            misses += 1
            if misses < _PATIENCE:
                continue
            if split == "holdout":
                return
            seen.clear()
        misses = 0
        seen.add(problem.key)
        yield problem


def level_of(request: DataRequest, task: str, default: int, highest: int) -> int:
    """The level of the request, or the task's default. Raises ConfigError outside 1..highest."""
    level = default if request.level is None else request.level
    if not 1 <= level <= highest:
        raise ConfigError(f"{task} has levels 1 to {highest}", given=f"level={level}", hint=f"the default is {default}")
    return level


def levels_of(request: DataRequest, task: str, default: int, highest: int) -> tuple[int, ...]:
    """The levels that the name asks for (`arithmetic:1-5`, `arithmetic:3`), else the one that `level_of` gives.

    Raises:
        ConfigError: no such levels, or levels in the name and a level beside it.
    """
    levels = request.params.get("levels")
    if levels is None:
        return (level_of(request, task, default, highest),)
    if request.level is not None:
        raise ConfigError("the levels are given twice", given=f"{task}:{levels} and level={request.level}")
    match = re.fullmatch(r"([1-9])(?:-([1-9]))?", str(levels))
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= highest:
        raise ConfigError(
            f"{task} has levels 1 to {highest}", given=f"{task}:{levels}", hint=f"write {task}:1-{highest}, or {task}:1"
        )
    return tuple(range(first, last + 1))


def in_turn(streams: Sequence[Iterator[_Item]]) -> Iterator[_Item]:
    """One item of each stream after another; a stream that has ended drops out."""
    open_streams = list(streams)
    while open_streams:
        for stream in tuple(open_streams):
            try:
                item = next(stream)
            except StopIteration:
                open_streams.remove(stream)
            else:
                yield item
