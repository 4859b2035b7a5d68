"""Conservation along a predicted trajectory: what does not change in the motion must not change in the prediction.

Something that never moves conserves everything, so the score counts only beside agreement with the first state and the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.parsing.formulas import FormulaError, read_formula
from rlllm.parsing.quantities import close

_MOST_ROWS = 200
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
_State = Mapping[str, float]


def conservation(states: Sequence[_State], given: _State, conserved: str, limit: float = 0.05) -> tuple[float, float]:
    """(e, r): e = max_t |E_t - E_0| / |E_0| and r = max(0, 1 - e / limit).

    Where E_0 is 0, the largest term of E along the trajectory stands for it.

    Args:
        states: symbol -> number of each state in order, the first one at the start.
        given: values of the other symbols in the formula.
        conserved: formula of E.

    Raises:
        FormulaError: the formula has no value for a state.
    """
    formula = read_formula(conserved)
    values = [formula.value({**given, **state}) for state in states]
    terms = [abs(term.value({**given, **state})) for term in formula.terms() for state in states]
    scale = abs(values[0]) or max(terms)
    if not scale:
        return 0.0, 1.0
    error = max(abs(value - values[0]) for value in values) / scale
    return error, max(0.0, 1.0 - error / limit)


def read_states(text: str, columns: Sequence[str]) -> list[dict[str, float]] | None:
    """The states that an answer lists, a line each with a number for every column; None for anything else."""
    rows = [row.strip().rstrip(";,") for row in re.split(r"\\\\|\n|;", text.strip())]
    rows = [row for row in rows if row]
    if not 2 <= len(rows) <= _MOST_ROWS:
        return None
    states = []
    for row in rows:
        parts = [part.strip().strip("()[]") for part in re.split(r"[,&\t]", row)]
        if len(parts) != len(columns) or not all(_NUMBER.fullmatch(part) for part in parts):
            return None
        states.append(dict(zip(columns, map(float, parts), strict=True)))
    return states


def score_trajectory(text: str, expected: Mapping[str, Any], tolerance: float) -> tuple[float, str | None]:
    """The score of a predicted trajectory, and why it is 0 where it is.

    Args:
        expected: the column `trajectory`: `columns` (the time first), `given`, `conserved`, and the right `states`.
        tolerance: share by which the first and the last state may be off, and the change of what is conserved at a score of 0.
    """
    states = read_states(text, expected["columns"])
    if states is None:
        return 0.0, "no rows of numbers, one for each column"
    right = expected["states"]
    if len(states) != len(right):
        return 0.0, f"{len(states)} states, where {len(right)} are asked for"
    time = expected["columns"][0]
    if not all(close(state[time], other[time], 1e-3) for state, other in zip(states, right, strict=True)):
        return 0.0, "other times than those asked for"
    for place in (0, -1):
        if not all(_agrees(states[place], right[place], name, right, tolerance) for name in expected["columns"]):
            return 0.0, f"the {'last' if place else 'first'} state is not that of the motion"
    try:
        error, score = conservation(states, expected["given"], expected["conserved"], tolerance)
    except FormulaError as problem:
        return 0.0, str(problem)
    return score, None if score else f"what is conserved changes by {error:.0%}"


def _agrees(state: _State, right: _State, name: str, trajectory: Sequence[_State], tolerance: float) -> bool:
    """Whether a coordinate is right: of one that passes 0, a share of its largest value along the trajectory may be off."""
    largest = max(abs(other[name]) for other in trajectory)
    return abs(state[name] - right[name]) <= tolerance * max(abs(right[name]), 0.1 * largest) + 1e-9
