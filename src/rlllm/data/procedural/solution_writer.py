"""The writer of worked solutions, with rates of mistakes, long wordings and broken endings.

A model that imitates it knows the right steps but also samples wrong ones, which reinforcement learning can then remove.
"""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import Field

from rlllm.core.config import Section
from rlllm.data.procedural.problems import Problem

_OPENINGS = ("Let me see.\n", "Step by step:\n", "")


UNSURE = "#### I do not know"
"""The whole solution of a writer that is unsure: it is said before the work, since that is where it saves it."""
Rate = Annotated[float, Field(ge=0, le=1)]


class WriterParams(Section):
    """How the writer errs. Each rate is a share of solutions, drawn independently."""

    clean: bool = False
    """No noise at all: every solution is right, short and well formed."""
    error_rate: Rate = 0.3
    """Solutions with one slip, among problems without a special difficulty."""
    tricky_error_rate: Rate = 0.75
    """The same where the usual mistake is possible (a carry to forget)."""
    verbose_rate: Rate = 0.3
    """Solutions in the long wording."""
    malformed_rate: Rate = 0.3
    """Solutions with a broken ending."""
    unsure_rate: Rate = 0.0
    """Solutions that are `#### I do not know` and nothing else, whatever the problem; the reward `abstention` needs some."""


def write(problem: Problem, generator: random.Random, params: WriterParams) -> str:
    """One worked solution, ending in a marked answer (`#### answer`) unless the ending is broken."""
    if params.clean:
        return _text(problem, generator, slip=False, verbose=False, malformed=False)
    slips = params.tricky_error_rate if problem.tricky else params.error_rate
    rates = (slips, params.verbose_rate, params.malformed_rate)
    slip, verbose, malformed = [generator.random() < rate for rate in rates]
    text = _text(problem, generator, slip=slip, verbose=verbose, malformed=malformed)
    if params.unsure_rate and generator.random() < params.unsure_rate:
        return UNSURE
    return text


def _text(problem: Problem, generator: random.Random, *, slip: bool, verbose: bool, malformed: bool) -> str:
    solution = problem.solve(generator, slip)
    opening = generator.choice(_OPENINGS) if verbose else ""
    ending = generator.choice(solution.broken_endings) if malformed else solution.ending
    lines = [step[1] if verbose else step[0] for step in solution.steps]
    return opening + "\n".join([*lines, ending.format(answer=solution.answer)])
