"""The dataset `workspace`: small programs to be written, run and submitted, for the environment of that name.

As `PromptTask` a row is one program: what it prints for a line of numbers, with tests. As `Conversation` it is one turn of its
making: the prompt holds all turns so far, the completion is the next call in the syntax of the model `nano`. Programmers slip
now and then, and not all of them look at what their program prints, so that reinforcement learning can improve on them. No
program is in both splits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import Field

from rlllm.core.records import Conversation, Message, PromptTask, Record
from rlllm.data.procedural.problems import level_of, stream
from rlllm.data.procedural.procedural_task import ProceduralParams, parse_params
from rlllm.data.procedural.tool_tasks import player
from rlllm.data.request import DataRequest

ACCEPTED, REJECTED = "accepted", "rejected"
"""What is said of a program that is submitted."""
FILE = "a.py"
"""Where the programmers of the transcripts write."""
_KINDS: dict[str, tuple[str, Callable[[Sequence[int]], int]]] = {
    "sum": ("sum", sum),
    "max": ("largest", max),
    "min": ("smallest", min),
}
"""Function of Python -> its word, and itself."""
_SOME = {"": ("numbers", ""), "even": ("even numbers", "x%2==0"), "odd": ("odd numbers", "x%2")}
"""Which numbers count -> their words, and the condition."""
_OPERATIONS = {"*": "times", "+": "plus", "-": "minus"}
_TESTS = 4
_LEVELS = 3


@dataclass(frozen=True)
class _Term:
    """The sum, the largest or the smallest of some of the numbers."""

    kind: str
    some: str

    @property
    def words(self) -> str:
        return f"the {_KINDS[self.kind][0]} of the {_SOME[self.some][0]}"

    @property
    def code(self) -> str:
        condition = _SOME[self.some][1]
        return f"{self.kind}(x for x in n if {condition})" if condition else f"{self.kind}(n)"

    def of(self, numbers: Sequence[int]) -> int:
        chosen = [x for x in numbers if not self.some or (x % 2 == 0) == (self.some == "even")]
        return _KINDS[self.kind][1](chosen)


@dataclass(frozen=True)
class SmallProgram:
    """Reads a line of numbers, of which some are even and some odd, and prints one: a term, an operation, and a number or
    another term."""

    first: _Term
    operation: str
    second: int | _Term

    @property
    def words(self) -> str:
        other = self.second.words if isinstance(self.second, _Term) else str(self.second)
        return f"{self.first.words} {_OPERATIONS[self.operation]} {other}"

    @property
    def code(self) -> str:
        other = self.second.code if isinstance(self.second, _Term) else str(self.second)
        return f"n=[*map(int,input().split())]\nprint({self.first.code}{self.operation}{other})"

    def of(self, numbers: Sequence[int]) -> int:
        """What it prints."""
        one, other = self.first.of(numbers), self.second
        number = other.of(numbers) if isinstance(other, _Term) else other
        return {"*": one * number, "+": one + number, "-": one - number}[self.operation]

    @property
    def key(self) -> str:
        return f"workspace {self.words}"


class _WorkspaceParams(ProceduralParams):
    """Parameters of the transcripts."""

    slips: float = Field(0.4, ge=0, le=1)
    """Share of programs that are wrong when they are first written."""
    runs: float = Field(0.5, ge=0, le=1)
    """Share of transcripts that run the program before it is submitted, and repair what they see to be wrong."""


class _WorkspaceTask:
    """Write a program. Level 1: one function of all numbers, and a number; 2: of some numbers; 3: of two functions."""

    rewards = ("environment",)

    def __call__(self, request: DataRequest) -> list[Record]:
        params = parse_params(_WorkspaceParams, request.params)
        level = level_of(request, "workspace", 1, _LEVELS)
        seed = f"workspace {level} {request.split} {request.seed}"
        programs = stream(lambda generator: _draw(generator, level), request.split, seed)
        numbers = random.Random(f"{seed} numbers")
        tasks = ((_task(program, level, numbers), program) for program in programs)
        if request.kind is PromptTask:
            return [task for task, _ in islice(tasks, request.rows)]
        generator = player("workspace", request)
        turns = (turn for task, program in tasks for turn in _made(task, program, level, generator, params))
        return list(islice(turns, request.rows))


def written(path: str, text: str) -> str:
    """What is said of a file that was written."""
    count = len(text.splitlines())
    return f"{path}: {count} line{'' if count == 1 else 's'}"


def _draw(generator: random.Random, level: int) -> SmallProgram:
    def term(some: Sequence[str]) -> _Term:
        return _Term(generator.choice(list(_KINDS)), generator.choice(some))

    if level < _LEVELS:
        first = term([""] if level == 1 else ["even", "odd"])
        return SmallProgram(first, generator.choice(list(_OPERATIONS)), generator.randint(2, 99))
    return SmallProgram(term(list(_SOME)), generator.choice(list(_OPERATIONS)), term(list(_SOME)))


def _another(program: SmallProgram, level: int, generator: random.Random) -> SmallProgram:
    """A program that is written in its place by mistake."""
    while (other := _draw(generator, level)) == program:
        pass
    return other


def _task(program: SmallProgram, level: int, generator: random.Random) -> PromptTask:
    lines = [_line(generator) for _ in range(_TESTS + 1)]
    example, *tests = [{"stdin": " ".join(map(str, line)), "stdout": str(program.of(line))} for line in lines]
    prompt = (
        f"Write a program that reads numbers from a line and prints {program.words}. "
        f"{example['stdin']} gives {example['stdout']}."
    )
    columns = {"task": "workspace", "level": level, "example": example, "tests": tests, "solution": program.code}
    return PromptTask(prompt, None, columns)


def _line(generator: random.Random) -> list[int]:
    """Three to five numbers, at least one of them even and one odd."""
    some = [generator.randint(1, 30) for _ in range(generator.randint(1, 3))]
    line = [2 * generator.randint(1, 15), 2 * generator.randint(1, 15) - 1, *some]
    generator.shuffle(line)
    return line


def _made(
    task: PromptTask, program: SmallProgram, level: int, generator: random.Random, params: _WorkspaceParams
) -> Iterator[Conversation]:
    """The turns of one transcript, and a last word."""
    turns: list[Message] = [{"role": "user", "content": str(task.prompt)}]

    def said(call: str, reply: str) -> Conversation:
        conversation = Conversation(list(turns), call, dict(task.meta))
        turns.extend([{"role": "assistant", "content": call}, {"role": "tool", "content": reply}])
        return conversation

    def writes(version: SmallProgram) -> Conversation:
        return said(f"<<write path={FILE};text={version.code}>>", written(FILE, version.code))

    slips = generator.random() < params.slips
    version = _another(program, level, generator) if slips else program
    yield writes(version)
    if generator.random() < params.runs:
        example = task.meta["example"]
        numbers = [int(number) for number in example["stdin"].split()]
        yield said(f"<<run path={FILE};stdin={example['stdin']}>>", str(version.of(numbers)))
        if version.of(numbers) != program.of(numbers):
            version = program
            yield writes(version)
    tests = [[int(number) for number in test["stdin"].split()] for test in task.meta["tests"]]
    passes = all(version.of(numbers) == program.of(numbers) for numbers in tests)
    yield said(f"<<submit path={FILE}>>", ACCEPTED if passes else REJECTED)
    yield Conversation(turns, "done", dict(task.meta))


workspace = _WorkspaceTask()
