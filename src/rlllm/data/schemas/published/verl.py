"""The rows that verl trains on: messages in `prompt`, the answer in `reward_model.ground_truth`."""

from __future__ import annotations

from collections.abc import Mapping

from rlllm.core.records import PromptTask
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema

VERL_COLUMNS = {"prompt": "prompt", "answer": "reward_model.ground_truth"}


def is_verl(row: Row) -> bool:
    """Whether a row has verl's columns."""
    reward = row.get("reward_model")
    return is_messages(row.get("prompt")) and isinstance(reward, Mapping) and "ground_truth" in reward


SCHEMA = RowSchema(
    name="verl",
    summary="verl: prompt messages and reward_model.ground_truth",
    fits=is_verl,
    needs="prompt messages and reward_model.ground_truth",
    columns={PromptTask: VERL_COLUMNS},
)
