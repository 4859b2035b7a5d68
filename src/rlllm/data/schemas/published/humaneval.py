"""HumanEval (Chen et al. 2021, arXiv 2107.03374). `meta` keeps the columns that the reward `code` reads."""

from __future__ import annotations

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import RowSchema, has_columns

SCHEMA = RowSchema(
    name="humaneval",
    summary="HumanEval: Python functions to complete",
    fits=has_columns("task_id", "prompt", "canonical_solution", "test", "entry_point"),
    needs="task_id, prompt, canonical_solution, test and entry_point",
    columns={
        PromptTask: {"prompt": "prompt"},
        Conversation: {"prompt": "prompt", "completion": "canonical_solution"},
    },
)
