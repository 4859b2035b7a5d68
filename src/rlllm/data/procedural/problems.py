"""Problems and how they are drawn. A tier (task and level) is a function from a random generator to a problem.

A problem's split is the hash of its `key`, which leaves out the wording and the order of commuting operands: no problem
can be in both splits, whatever the seeds. One key in five is held out.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.data.request import DataRequest, Split

HOLDOUT_IN = 5
PATIENCE = 60
"""Draws of known problems in a row after which a tier counts as exhausted."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Worked steps, each in a short and a long wording, and the answer they lead to."""

    steps: tuple[tuple[str, str], ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its wording, its answer, and a way to work it out with or without a slip."""

    task: str
    level: int
    key: str
    prompt: str
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


def split_of(key: str) -> Split:
    """The split a problem belongs to: held out if the first 64 bits of its key's SHA-256 divide by five."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return "holdout" if number % HOLDOUT_IN == 0 else "train"


def stream(draw: Draw, split: Split, seed: str) -> Iterator[Problem]:
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
            if misses < PATIENCE:
                continue
            if split == "holdout":
                return
            seen.clear()
        misses = 0
        seen.add(problem.key)
        yield problem


def level_of(request: DataRequest, task: str, default: int, highest: int) -> int:
    """The level asked for, or the task's default. Raises ConfigError outside 1..highest."""
    level = default if request.level is None else request.level
    if not 1 <= level <= highest:
        raise ConfigError(f"{task} has levels 1 to {highest}", given=f"level={level}", hint=f"the default is {default}")
    return level
