"""The prompts that OpenRLHF trains on: `context_messages`, or `input` (`prompt`) and `label`."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PromptTask
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema, without

_ANSWER_COLUMNS = (
    *("completion", "completions", "response", "output", "answer", "chosen", "rejected"),
    *("final_answer", "ground_truth", "reward_model", "solution", "target"),
)
"""Columns beside which a `label` is not what OpenRLHF means by it."""


def _fits(row: Row) -> bool:
    label = row.get("label", False)  # null for a prompt without an answer
    labelled = (label is None or isinstance(label, str)) and not row.keys() & set(_ANSWER_COLUMNS)
    return is_messages(row.get("context_messages")) or (labelled and bool(row.keys() & {"input", "prompt"}))


def _task(row: Row) -> list[dict[str, Any]]:
    """`--input_key context_messages`, or `input` (`prompt`) with `--label_key label`."""
    prompt_column = next(name for name in ("context_messages", "input", "prompt") if name in row)
    task = {**without(row, prompt_column, "label"), "prompt": row[prompt_column]}
    return [task if row.get("label") is None else {**task, "answer": row["label"]}]


SCHEMA = RowSchema(
    name="openrlhf",
    summary="OpenRLHF: context_messages, or input and label",
    fits=_fits,
    needs="context_messages, or input (prompt) and a label that is text or null",
    convert={PromptTask: _task},
    precedence=-1,  # its columns are common: rows of Math-Shepherd have them too
)
