"""DAPO-Math-17k-Processed (Yu et al. 2025, arXiv 2503.14476): the problem without the instructions around it."""

from __future__ import annotations

from collections.abc import Mapping

from rlllm.core.records import PromptTask
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema


def _fits(row: Row) -> bool:
    has_texts = isinstance(row.get("prompt"), str) and isinstance(row.get("solution"), str)
    return has_texts and is_messages(row.get("source_prompt")) and isinstance(row.get("reward_model"), Mapping)


SCHEMA = RowSchema(
    name="dapo-processed",
    summary="DAPO-Math-17k-Processed",
    fits=_fits,
    needs="prompt, solution, source_prompt and reward_model",
    columns={PromptTask: {"prompt": "prompt", "answer": "solution"}},
)
