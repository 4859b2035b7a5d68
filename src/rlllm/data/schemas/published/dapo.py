"""DAPO-Math-17k (Yu et al. 2025, arXiv 2503.14476): verl's columns, and a `data_source` of its own."""

from __future__ import annotations

from rlllm.core.records import PromptTask
from rlllm.data.schemas.base import Row, RowSchema
from rlllm.data.schemas.published.verl import VERL_COLUMNS, is_verl


def _fits(row: Row) -> bool:
    return is_verl(row) and str(row.get("data_source")).startswith("math_dapo")


SCHEMA = RowSchema(
    name="dapo",
    summary="DAPO-Math-17k",
    fits=_fits,
    needs="prompt messages and reward_model.ground_truth",
    columns={PromptTask: VERL_COLUMNS},
    precedence=1,  # these rows fit verl too
)
