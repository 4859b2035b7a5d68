"""GSM8K (Cobbe et al. 2021, arXiv 2110.14168): the answer ends with `####` and the result."""

from __future__ import annotations

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Row, RowSchema, has_columns
from rlllm.parsing.answers import extract_answer

_has_answer = has_columns("question", "answer", lacks=("final_answer", "solution"))


def _fits(row: Row) -> bool:
    answer = row.get("answer")
    return _has_answer(row) and isinstance(answer, str) and "####" in answer and extract_answer(answer) is not None


SCHEMA = RowSchema(
    name="gsm8k",
    summary="GSM8K: grade-school mathematics",
    fits=_fits,
    needs="question, and an answer that ends with #### and the result",
    columns={
        PromptTask: {"prompt": "question", "answer": "answer"},
        Conversation: {"prompt": "question", "completion": "answer"},
    },
)
