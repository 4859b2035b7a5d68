"""DeepMath-103K (He et al. 2025, arXiv 2504.11456): a problem, its final answer and up to three solutions."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Row, RowError, RowSchema, has_columns, text, without

_SOLUTIONS = ("r1_solution_1", "r1_solution_2", "r1_solution_3")


def _conversations(row: Row) -> list[dict[str, Any]]:
    """One conversation for each solution."""
    solutions = [row[name] for name in _SOLUTIONS if isinstance(row.get(name), str) and row[name].strip()]
    if not solutions:
        raise RowError("has no solution")
    other_columns = {**without(row, "question", "final_answer", *_SOLUTIONS), "answer": row["final_answer"]}
    question = text(row["question"], "question")
    return [{**other_columns, "prompt": question, "completion": solution} for solution in solutions]


SCHEMA = RowSchema(
    name="deepmath",
    summary="DeepMath-103K",
    fits=has_columns("question", "final_answer", "r1_solution_1"),
    needs="question, final_answer and r1_solution_1",
    columns={PromptTask: {"prompt": "question", "answer": "final_answer"}},
    convert={Conversation: _conversations},
)
