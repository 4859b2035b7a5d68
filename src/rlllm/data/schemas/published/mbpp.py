"""MBPP (Austin et al. 2021, arXiv 2108.07732). `meta` keeps the columns that the reward `code` reads."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Row, RowSchema, text, without


def _fits(row: Row) -> bool:
    tests, request = row.get("test_list"), row.get("text", row.get("prompt"))
    return isinstance(request, str) and "code" in row and isinstance(tests, list) and bool(tests)


def _task(row: Row) -> list[dict[str, Any]]:
    """The request with its tests, as in the paper, since only the tests say what the function is called."""
    tests = "\n".join(text(test, "test_list") for test in row["test_list"])
    request = text(row.get("text", row.get("prompt")), "the task")
    return [{**without(row, "text"), "prompt": f"{request}\n\nYour code should pass these tests:\n\n{tests}"}]


def _conversation(row: Row) -> list[dict[str, Any]]:
    return [{**without(task, "code"), "completion": row["code"]} for task in _task(row)]


SCHEMA = RowSchema(
    name="mbpp",
    summary="MBPP: short Python functions with tests",
    fits=_fits,
    needs="text (or prompt), code and test_list",
    convert={PromptTask: _task, Conversation: _conversation},
)
