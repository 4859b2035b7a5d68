"""Programming problems with tests: APPS (arXiv 2105.09938), HumanEval (arXiv 2107.03374), MBPP (arXiv 2108.07732).

The tests stay in `meta` under the columns that the reward `code` reads.
"""

from __future__ import annotations

import json
from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Row, RowSchema, has, rest, text, unfit


def _apps_task(row: Row, place: str) -> list[dict[str, Any]]:
    """The question, and the code that a solution begins with where there is some."""
    begins = row.get("starter_code")
    parts = [
        text(row["question"], "question", place),
        *([begins] if isinstance(begins, str) and begins.strip() else []),
    ]
    return [{**rest(row, "question"), "prompt": "\n\n".join(parts)}]


def _apps_solved(row: Row, place: str) -> list[dict[str, Any]]:
    """The first of the solutions, as the completion."""
    try:
        solutions = json.loads(row["solutions"]) if isinstance(row["solutions"], str) else row["solutions"]
    except (ValueError, RecursionError) as error:
        raise unfit(place, "has solutions that are no JSON list") from error
    if not isinstance(solutions, list) or not solutions:
        raise unfit(place, "has no solution")
    return [{**task, "completion": text(solutions[0], "solutions", place)} for task in _apps_task(row, place)]


def _is_mbpp(row: Row) -> bool:
    tests, asked = row.get("test_list"), row.get("text", row.get("prompt"))
    return isinstance(asked, str) and "code" in row and isinstance(tests, list) and bool(tests)


def _mbpp_task(row: Row, place: str) -> list[dict[str, Any]]:
    """The task with its tests, as in the paper: only they tell the name of the function."""
    tests = "\n".join(text(test, "test_list", place) for test in row["test_list"])
    asked = text(row.get("text", row.get("prompt")), "the task", place)
    return [{**rest(row, "text"), "prompt": f"{asked}\n\nYour code should pass these tests:\n\n{tests}"}]


def _mbpp_solved(row: Row, place: str) -> list[dict[str, Any]]:
    return [{**rest(task, "code"), "completion": row["code"]} for task in _mbpp_task(row, place)]


PROGRAMS = (
    RowSchema(
        "humaneval",
        has("task_id", "prompt", "canonical_solution", "test", "entry_point"),
        "task_id, prompt, canonical_solution, test and entry_point",
        maps={PromptTask: {"prompt": "prompt"}, Conversation: {"prompt": "prompt", "completion": "canonical_solution"}},
    ),
    RowSchema(
        "apps",
        has("question", "solutions", "input_output"),
        "question, solutions and input_output",
        expands={PromptTask: _apps_task, Conversation: _apps_solved},
    ),
    RowSchema(
        "mbpp",
        _is_mbpp,
        "text (or prompt), code and test_list",
        expands={PromptTask: _mbpp_task, Conversation: _mbpp_solved},
    ),
)
