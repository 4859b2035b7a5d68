"""Derive test cases from tasks: right, wrong, empty and truncated completions, and attacks, each with the expected result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlllm.core.records import PromptTask, Sample
from rlllm.rewards.bench.answer_variants import (
    STYLES,
    Problem,
    Style,
    forms,
    framings,
    lookalike,
    problems,
    truncations,
)
from rlllm.rewards.bench.attacks import STRESSED, attacks
from rlllm.rewards.bench.cases import Case

GOLD, WRONG, EMPTY, TRUNCATED = "gold", "wrong", "empty", "truncated"
FORM, ATTACK = "form: ", "attack: "
"""How the kinds of forms and attacks begin."""


def derive(tasks: Sequence[PromptTask], style: Style) -> list[Case]:
    """All cases of the tasks that have an answer, task by task.

    Gold answers and their framings must pass; wrong, empty and truncated ones and attacks must not; of other forms of the
    answer nothing is demanded.
    """
    return [
        case
        for number, problem in enumerate(problems(tasks, style))
        for case in _cases(problem, stress=number < STRESSED)
    ]


def golds(tasks: Sequence[PromptTask], style: Style) -> list[Case]:
    """The right completions alone."""
    return [_case(problem, GOLD, problem.style.write(problem.answer), True) for problem in problems(tasks, style)]


def _cases(problem: Problem, *, stress: bool) -> Iterator[Case]:
    style = problem.style
    yield _case(problem, GOLD, style.write(problem.answer), True)
    for name, framing in framings(style).items():
        yield _case(problem, name, framing(problem, problem.answer), True)
    for answer in problem.wrong:
        yield _case(problem, WRONG, style.write(answer), False)
    for name, framing in framings(style).items() if problem.wrong else ():
        yield _case(problem, f"{WRONG}, {name}", framing(problem, problem.wrong[-1]), False)
    for text in ("", " \n\t"):
        yield _case(problem, EMPTY, text, False)
    for text in truncations(problem):
        yield _case(problem, TRUNCATED, text, False, truncated=True)
    for name, text in attacks(problem, stress=stress):
        yield _case(problem, ATTACK + name, text, False)
    for name, answer in forms(problem):
        yield _case(problem, FORM + name, style.write(answer), None)
    fake = lookalike(problem)
    if fake is not None:
        yield _case(problem, f"{FORM}lookalike marker", fake, None)
    for name, other in STYLES.items():
        if other is not style:
            yield _case(problem, f"{FORM}as {name}", other.write(problem.answer), None)


def _case(problem: Problem, kind: str, text: str, label: bool | None, *, truncated: bool = False) -> Case:
    task = problem.task
    return Case(Sample(task.prompt, text, task.answer, task.meta, truncated=truncated), kind, label)
