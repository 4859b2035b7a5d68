"""Problems with a checkable answer: verl, DAPO, OpenRLHF, GSM8K, MATH, DeepMath.

Sources: GSM8K (Cobbe et al. 2021, arXiv 2110.14168), MATH (Hendrycks et al. 2021, arXiv 2103.03874), DAPO (Yu et al. 2025,
arXiv 2503.14476), DeepMath (He et al. 2025, arXiv 2504.11456).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema, has, rest, text, unfit
from rlllm.parsing.answers import extract_answer

_BARE_BOX = re.compile(r"\\f?boxed +([^\s${}]+)")
_R1_SOLUTIONS = ("r1_solution_1", "r1_solution_2", "r1_solution_3")
_OTHER_ANSWERS = (
    *("completion", "completions", "response", "output", "answer", "chosen", "rejected"),
    *("final_answer", "ground_truth", "reward_model", "solution", "target"),
)
"""Columns beside which a `label` is not what OpenRLHF means by it."""


def _is_verl(row: Row) -> bool:
    reward = row.get("reward_model")
    return is_messages(row.get("prompt")) and isinstance(reward, Mapping) and "ground_truth" in reward


def _is_dapo(row: Row) -> bool:
    return _is_verl(row) and str(row.get("data_source")).startswith("math_dapo")


def _is_processed_dapo(row: Row) -> bool:
    solved = isinstance(row.get("prompt"), str) and isinstance(row.get("solution"), str)
    return solved and is_messages(row.get("source_prompt")) and isinstance(row.get("reward_model"), Mapping)


def _is_gsm8k(row: Row) -> bool:
    return has("question", "answer", lacks=("final_answer", "solution"))(row) and _marked(row["answer"], "####")


def _is_math(row: Row) -> bool:
    return has("problem", "solution", lacks=("answer", "final_answer"))(row) and _boxed(row["solution"]) is not None


def _boxed(solution: object) -> str | None:
    """The result of a solution of MATH, of which a few have it in a box without braces: `\\boxed 5`."""
    if not isinstance(solution, str) or "boxed" not in solution:
        return None
    bare = _BARE_BOX.findall(solution)
    return extract_answer(solution) or (bare[-1] if bare else None)


def _math_task(row: Row, place: str) -> list[dict[str, Any]]:
    return [{**rest(row, "problem"), "prompt": row["problem"], "answer": _boxed(row["solution"])}]


def _marked(solution: object, mark: str) -> bool:
    return isinstance(solution, str) and mark in solution and extract_answer(solution) is not None


def _is_openrlhf(row: Row) -> bool:
    label = row.get("label", False)  # null for a prompt without an answer
    labelled = (label is None or isinstance(label, str)) and not row.keys() & set(_OTHER_ANSWERS)
    return is_messages(row.get("context_messages")) or (labelled and bool(row.keys() & {"input", "prompt"}))


def _openrlhf(row: Row, place: str) -> list[dict[str, Any]]:
    """`--input_key context_messages`, or `input` (`prompt`) with `--label_key label`."""
    column = next(name for name in ("context_messages", "input", "prompt") if name in row)
    made = {**rest(row, column, "label"), "prompt": row[column]}
    return [made if row.get("label") is None else {**made, "answer": row["label"]}]


def _deepmath_solutions(row: Row, place: str) -> list[dict[str, Any]]:
    """One conversation for each solution."""
    solutions = [row[name] for name in _R1_SOLUTIONS if isinstance(row.get(name), str) and row[name].strip()]
    if not solutions:
        raise unfit(place, "has no solution")
    kept = {**rest(row, "question", "final_answer", *_R1_SOLUTIONS), "answer": row["final_answer"]}
    asked = text(row["question"], "question", place)
    return [{**kept, "prompt": asked, "completion": solution} for solution in solutions]


_VERL = {"prompt": "prompt", "answer": "reward_model.ground_truth"}

PROBLEMS = (
    RowSchema("dapo", _is_dapo, "prompt messages and reward_model.ground_truth", maps={PromptTask: _VERL}),
    RowSchema(
        "dapo-processed",
        _is_processed_dapo,
        "prompt, solution, source_prompt and reward_model",
        maps={PromptTask: {"prompt": "prompt", "answer": "solution"}},
    ),
    RowSchema("verl", _is_verl, "prompt messages and reward_model.ground_truth", maps={PromptTask: _VERL}),
    RowSchema(
        "deepmath",
        has("question", "final_answer", "r1_solution_1"),
        "question, final_answer and r1_solution_1",
        maps={PromptTask: {"prompt": "question", "answer": "final_answer"}},
        expands={Conversation: _deepmath_solutions},
    ),
    RowSchema(
        "gsm8k",
        _is_gsm8k,
        "question, and an answer that ends with #### and the result",
        maps={
            PromptTask: {"prompt": "question", "answer": "answer"},
            Conversation: {"prompt": "question", "completion": "answer"},
        },
    ),
    RowSchema(
        "math",
        _is_math,
        "problem, and a solution with its result in \\boxed{}",
        maps={Conversation: {"prompt": "problem", "completion": "solution"}},
        expands={PromptTask: _math_task},
    ),
    RowSchema(
        "openrlhf",
        _is_openrlhf,
        "context_messages, or input (prompt) and a label that is text or null",
        expands={PromptTask: _openrlhf},
    ),
)
