"""Alpaca (Taori et al. 2023)."""

from __future__ import annotations

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import RowSchema, has_columns

_ALPACA_COLUMNS = ("instruction", "input", "output")
_ANSWER_COLUMNS = ("answer", "final_answer", "solution", "response", "completion", "target", "chosen", "rejected")
"""Columns that hold an answer under other names. Rows with one of them are not in Alpaca's schema."""

SCHEMA = RowSchema(
    name="alpaca",
    summary="Alpaca: instruction, input and output",
    fits=has_columns(*_ALPACA_COLUMNS, lacks=_ANSWER_COLUMNS),
    needs="instruction, input and output",
    columns={
        Conversation: {"prompt": "instruction+input", "completion": "output"},
        PromptTask: {"prompt": "instruction+input", "answer": "output"},
    },
)
