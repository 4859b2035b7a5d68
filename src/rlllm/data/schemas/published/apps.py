"""APPS (Hendrycks et al. 2021, arXiv 2105.09938). `meta` keeps the columns that the reward `code` reads."""

from __future__ import annotations

import json
from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Row, RowError, RowSchema, has_columns, text, without


def _task(row: Row) -> list[dict[str, Any]]:
    """The question, followed by `starter_code` where there is some."""
    starter_code = row.get("starter_code")
    parts = [text(row["question"], "question")]
    if isinstance(starter_code, str) and starter_code.strip():
        parts.append(starter_code)
    return [{**without(row, "question"), "prompt": "\n\n".join(parts)}]


def _conversation(row: Row) -> list[dict[str, Any]]:
    """The first of the solutions, as the completion."""
    try:
        solutions = json.loads(row["solutions"]) if isinstance(row["solutions"], str) else row["solutions"]
    except (ValueError, RecursionError) as error:
        raise RowError("has solutions that are no JSON list") from error
    if not isinstance(solutions, list) or not solutions:
        raise RowError("has no solution")
    return [{**task, "completion": text(solutions[0], "solutions")} for task in _task(row)]


SCHEMA = RowSchema(
    name="apps",
    summary="APPS: programming problems with tests",
    fits=has_columns("question", "solutions", "input_output"),
    needs="question, solutions and input_output",
    convert={PromptTask: _task, Conversation: _conversation},
)
