"""`ProceduralTask`: the dataset callable of a procedural task, and how its problems become records of each type."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ValidationError

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError, DataError, unknown
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask, Record, StepwiseSolution
from rlllm.data.procedural.annotator import AnnotatorParams, make_labelled, make_pair
from rlllm.data.procedural.problems import Draw, Problem, in_turn, levels_of, stream
from rlllm.data.procedural.solution_writer import WriterParams, write
from rlllm.data.procedural.stepwise import StepwiseParams, make_solution
from rlllm.data.request import DataRequest


class ProceduralParams(WriterParams, AnnotatorParams, StepwiseParams):
    """Everything `data.params` may hold for a procedural task."""


@dataclass(frozen=True, slots=True)
class ProceduralTask:
    """A dataset of one task: called with a request, gives its records.

    The same request gives the same rows. A held-out request gives fewer rows when the level has fewer problems.
    `NAME:1-3` takes problems of levels 1 to 3 in turn.
    """

    argument: ClassVar[str] = "levels"

    name: str
    tiers: Mapping[int, Draw]
    """Level -> function that draws a problem."""
    default_level: int
    rewards: tuple[str, ...]
    """Names of the rewards that fit this task."""

    def __call__(self, request: DataRequest) -> list[Record]:
        params = parse_params(ProceduralParams, without_levels(request.params))
        levels = levels_of(request, self.name, self.default_level, max(self.tiers))
        streams = [
            stream(self.tiers[level], request.split, f"{self.name} {level} {request.split} {request.seed}")
            for level in levels
        ]
        return make_records(in_turn(streams), request, params)


def without_levels(params: Mapping[str, Any]) -> dict[str, Any]:
    """`data.params` without the levels, which `levels_of` reads."""
    return {name: value for name, value in params.items() if name != "levels"}


def make_records(problems: Iterable[Problem], request: DataRequest, params: ProceduralParams) -> list[Record]:
    """At most `request.rows` records of the requested type. Raises DataError for a type no procedural task makes."""
    if request.kind not in _MAKERS:
        raise DataError(
            f"procedural tasks make no {request.kind.__name__} records",
            exists=[kind.__name__ for kind in _MAKERS],
        )
    make = _MAKERS[request.kind]
    if request.split == "holdout" and not params.noisy_holdout:
        params = params.model_copy(update={"temperature": 0.0, "flip_rate": 0.0})
    generator = random.Random(f"writer {request.kind.__name__} {request.split} {request.seed}")
    return [make(problem, generator, params) for problem, _ in zip(problems, range(request.rows), strict=False)]


def parse_params(cls: type[Section], params: Mapping[str, Any]) -> Any:
    """Validate `data.params`. Raises ConfigError for an unknown name or a value out of range."""
    for name in params:
        if name not in cls.model_fields:
            raise unknown("parameter of this data set", name, cls.model_fields)
    try:
        return cls.model_validate(dict(params))
    except ValidationError as error:
        problem = error.errors()[0]
        original = problem.get("ctx", {}).get("error")
        if isinstance(original, ConfigError):
            raise original from error
        place = ".".join(str(part) for part in ("params", *problem["loc"]))
        raise ConfigError(f"data.{place}: {problem['msg'].lower()}", given=repr(problem["input"])) from error


def _prompt_task(problem: Problem, _generator: random.Random, _params: ProceduralParams) -> Record:
    solution = write(problem, random.Random(problem.key), _CLEAN)
    return PromptTask(problem.prompt, problem.answer, {**problem.meta, "solution": solution})


_CLEAN = WriterParams(clean=True)
"""The writer of reference solutions."""


def _conversation(problem: Problem, generator: random.Random, params: ProceduralParams) -> Record:
    return Conversation(problem.prompt, write(problem, generator, params), {**problem.meta, "answer": problem.answer})


def _pair(problem: Problem, generator: random.Random, params: ProceduralParams) -> Record:
    return make_pair(problem, generator, params, params)


def _labelled(problem: Problem, generator: random.Random, params: ProceduralParams) -> Record:
    return make_labelled(problem, generator, params, params)


def _stepwise(problem: Problem, generator: random.Random, params: ProceduralParams) -> Record:
    return make_solution(problem, generator, params)


_MAKERS: dict[type[Record], Callable[[Problem, random.Random, ProceduralParams], Record]] = {
    PromptTask: _prompt_task,
    Conversation: _conversation,
    PreferencePair: _pair,
    LabelledCompletion: _labelled,
    StepwiseSolution: _stepwise,
}
