"""`ExerciseTask`: generated prompts whose completions are checked by a rule of the row, each with one right completion.

It is to these what `ProceduralTask` is to problems with an answer. The hash of an exercise's key decides its split.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from rlllm.core.errors import DataError, unknown
from rlllm.core.records import Conversation, PromptTask, Record
from rlllm.data.procedural.problems import in_turn, levels_of, stream
from rlllm.data.procedural.procedural_task import without_levels
from rlllm.data.request import DataRequest


@dataclass(frozen=True, slots=True)
class Exercise:
    """One prompt, and a completion that its check accepts."""

    key: str
    """Decides the split; leaves out what does not matter, such as the order of options."""
    prompt: str
    solution: str
    answer: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Columns that the check reads."""


@dataclass(frozen=True, slots=True)
class ExerciseTask:
    """A dataset of exercises: called with a request, gives prompts to answer, or prompts with their solutions.

    `NAME:1-3` takes exercises of levels 1 to 3 in turn. A held-out request gives fewer rows where there are no more.
    """

    argument: ClassVar[str] = "levels"
    name: str
    tiers: Mapping[int, Callable[[random.Random], Exercise]]
    """Level -> function that draws an exercise."""
    default_level: int
    rewards: tuple[str, ...]

    def __call__(self, request: DataRequest) -> list[Record]:
        """Rows with the columns `task`, `level` and `solution` beside those of the exercise.

        Raises:
            ConfigError: a parameter (there are none), or a level that does not exist.
            DataError: another record type than prompts or conversations.
        """
        for name in without_levels(request.params):
            raise unknown(f"parameter of {self.name}", name, ("levels",))
        if request.kind not in (PromptTask, Conversation):
            raise DataError(
                f"{self.name} makes no {request.kind.__name__} records", exists=["PromptTask", "Conversation"]
            )
        streams = [self._records(level, request) for level in self.levels(request)]
        return list(islice(in_turn(streams), request.rows))

    def levels(self, request: DataRequest) -> tuple[int, ...]:
        """The levels that a request takes rows of. Raises ConfigError for a level that does not exist."""
        return levels_of(request, self.name, self.default_level, max(self.tiers))

    def _records(self, level: int, request: DataRequest) -> Iterator[Record]:
        exercises = stream(self.tiers[level], request.split, f"{self.name} {level} {request.split} {request.seed}")
        return (self._record(exercise, level, request.kind) for exercise in exercises)

    def _record(self, exercise: Exercise, level: int, kind: type[Record]) -> Record:
        meta = {"task": self.name, "level": level, **exercise.meta}
        if kind is Conversation:
            return Conversation(exercise.prompt, exercise.solution, {**meta, "answer": exercise.answer})
        return PromptTask(exercise.prompt, exercise.answer, {**meta, "solution": exercise.solution})
