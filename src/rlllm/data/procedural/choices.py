"""The dataset `choices`: multiple-choice forms of procedural tasks, such as `choices:arithmetic`.

Wrong options are the results of the task's own mistakes (a forgotten carry, a missed target). Where these give too few
different options, answers of other problems are added. The right letter is drawn uniformly. Prompts have the same form as
those of multiple-choice data sets from files.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from string import ascii_uppercase

from rlllm.core.errors import unknown
from rlllm.core.records import Record
from rlllm.data.procedural.exercises import Exercise, ExerciseTask
from rlllm.data.procedural.problems import Draw, Problem
from rlllm.data.procedural.world import TASKS
from rlllm.data.request import DataRequest

_OPTIONS = 4
_SLIPS = 12
"""Slips that are tried before answers of other problems fill up."""


class _Choices:
    """Dataset callable. `data.params.task` (or what follows the colon) names the task; levels are that task's."""

    rewards = ("choice",)
    argument = "task"

    def __call__(self, request: DataRequest) -> list[Record]:
        """Rows with `options` (the texts, in order) and the right label as the answer.

        Raises:
            ConfigError, DataError: an unknown task, and what `ExerciseTask` raises.
        """
        params = dict(request.params)
        task = TASKS.get(name := str(params.pop("task", "arithmetic")))
        if task is None:
            raise unknown("task with choices", name, TASKS)
        tiers = {level: partial(_exercise, draw) for level, draw in task.tiers.items()}
        exercises = ExerciseTask(f"choices:{name}", tiers, task.default_level, self.rewards)
        return exercises(replace(request, params=params))


def _exercise(draw: Draw, generator: random.Random) -> Exercise:
    while True:
        problem = draw(generator)
        wrong = _wrong(problem, draw, generator)
        texts = [problem.answer, *(next(wrong) for _ in range(_OPTIONS - 1))]
        if not {text.upper() for text in texts} & set(ascii_uppercase):  # "a" would be a label and a text at once
            return _asked(problem, generator.sample(texts, _OPTIONS))


def _wrong(problem: Problem, draw: Draw, generator: random.Random) -> Iterator[str]:
    """Different wrong answers: first of slips, then of other problems, without end."""
    seen = {problem.answer}
    for _ in range(_SLIPS):
        answer = problem.solve(generator, True).answer
        if answer not in seen:
            seen.add(answer)
            yield answer
    while True:
        other = draw(generator)
        if other.key != problem.key and other.answer not in seen:
            seen.add(other.answer)
            yield other.answer


def _asked(problem: Problem, texts: list[str]) -> Exercise:
    labelled: Mapping[str, str] = dict(zip(ascii_uppercase, texts, strict=False))
    right = next(label for label, text in labelled.items() if text == problem.answer)
    listed = "\n".join(f"{label}. {text}" for label, text in labelled.items())
    return Exercise(
        key=problem.key,
        prompt=f"{problem.prompt}\n\n{listed}\n\nAnswer with the letter of one option.",
        solution=f"#### {right}",
        answer=right,
        meta={"options": texts},
    )


choices = _Choices()
