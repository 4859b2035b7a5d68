"""MATH (Hendrycks et al. 2021, arXiv 2103.03874): the solution has its result in `\\boxed{}`."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Row, RowSchema, has_columns, without
from rlllm.parsing.answers import extract_answer

_has_solution = has_columns("problem", "solution", lacks=("answer", "final_answer"))


def _fits(row: Row) -> bool:
    return _has_solution(row) and _boxed(row["solution"]) is not None


def _boxed(solution: object) -> str | None:
    """The result of a solution; a few have it in `\\fbox{}`, or in a box without braces: `\\boxed 5`."""
    return extract_answer(solution) if isinstance(solution, str) and "box" in solution else None


def _task(row: Row) -> list[dict[str, Any]]:
    return [{**without(row, "problem"), "prompt": row["problem"], "answer": _boxed(row["solution"])}]


SCHEMA = RowSchema(
    name="math",
    summary="MATH: competition mathematics",
    fits=_fits,
    needs="problem, and a solution with its result in \\boxed{}",
    columns={Conversation: {"prompt": "problem", "completion": "solution"}},
    convert={PromptTask: _task},
)
