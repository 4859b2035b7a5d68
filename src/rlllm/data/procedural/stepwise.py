"""Worked solutions with an exact label for each step, for process reward models.

Steps are the lines of the short wording; the last one is the marked answer. Labels follow Lightman et al. 2023 (arXiv
2305.20050): true up to the first wrong step and false from it on, since later steps build on the mistake.

The first wrong step is found by comparing with the right solution line by line, because each line of a sum or list has one
right form. In countdown many ways lead to the target, so a step is wrong when the target can no longer be reached after it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import permutations
from typing import Annotated

from pydantic import Field

from rlllm.core.config import Section
from rlllm.core.records import StepwiseSolution
from rlllm.data.procedural.problems import Problem, Solution

_TRIES = 40
"""Most mistakes that are drawn to find one whose first wrong step is at the wanted place."""
_COUNTDOWN_STEP = re.compile(r"(-?\d+)[-+*](\d+)=(-?\d+)")


class StepwiseParams(Section):
    """How often a labelled solution goes wrong."""

    wrong_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of solutions with a wrong step. Its place is drawn first, then one of the task's mistakes that begins
    there; where the task has none, any of its mistakes is taken."""


def make_solution(problem: Problem, generator: random.Random, params: StepwiseParams) -> StepwiseSolution:
    """One solution cut into steps; a share of `params.wrong_share` has a first wrong step."""
    lines = _lines(problem.solve(generator, False))
    first = len(lines)
    if generator.random() < params.wrong_share:
        lines, first = _with_slip(problem, generator, generator.randrange(len(lines)))
    labels = tuple(index < first for index in range(len(lines)))
    return StepwiseSolution(problem.prompt, lines, labels, {**problem.meta, "answer": problem.answer})


def first_wrong(problem: Problem, lines: Sequence[str]) -> int:
    """Index of the first wrong step of a solution; the number of steps where all are right."""
    return _FINDERS.get(problem.task, _first_difference)(problem, lines)


def _with_slip(problem: Problem, generator: random.Random, first_wrong_step: int) -> tuple[tuple[str, ...], int]:
    for _ in range(_TRIES):
        lines = _lines(problem.solve(generator, True))
        first = first_wrong(problem, lines)
        if first == first_wrong_step:
            break
    return lines, first


def _lines(solution: Solution) -> tuple[str, ...]:
    return (*(short for short, _ in solution.steps), solution.ending.format(answer=solution.answer))


def _first_difference(problem: Problem, lines: Sequence[str]) -> int:
    """For tasks with one right solution, which no random draw shapes."""
    right = _lines(problem.solve(random.Random(0), False))
    return next((index for index, line in enumerate(lines) if right[index : index + 1] != (line,)), len(lines))


def _countdown_dead_end(problem: Problem, lines: Sequence[str]) -> int:
    """The first step after which the numbers left cannot make the target."""
    numbers_left = list(problem.extra["numbers"])
    target = Fraction(problem.extra["target"])
    for index, line in enumerate(lines[:-1]):
        match = _COUNTDOWN_STEP.fullmatch(line)
        assert match is not None, "countdown writes its own steps"
        first, second, result = map(int, match.groups())
        numbers_left.remove(first)
        numbers_left.remove(second)
        numbers_left.append(result)
        if not _reaches(tuple(sorted(Fraction(number) for number in numbers_left)), target):
            return index
    return len(lines)


@lru_cache(maxsize=4096)
def _reaches(numbers: tuple[Fraction, ...], target: Fraction) -> bool:
    """Whether some expression of all these numbers, each used once, is the target (the checker's + - * /)."""
    if len(numbers) == 1:
        return numbers[0] == target
    for first, second in permutations(range(len(numbers)), 2):
        a, b = numbers[first], numbers[second]
        rest = [number for index, number in enumerate(numbers) if index not in (first, second)]
        results = [a + b, a - b, a * b, *([a / b] if b else [])]
        if any(_reaches(tuple(sorted([*rest, result])), target) for result in results):
            return True
    return False


_FINDERS: dict[str, Callable[[Problem, Sequence[str]], int]] = {"countdown": _countdown_dead_end}
"""Tasks whose right solutions are many; in all others the right lines are unique."""
