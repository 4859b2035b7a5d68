"""HelpSteer3 (Wang et al. 2025, arXiv 2505.11475). The margin is the strength of the overall preference."""

from __future__ import annotations

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import RowSchema, has_columns
from rlllm.data.schemas.signed_preference import pair_by_sign

SCHEMA = RowSchema(
    name="helpsteer3",
    summary="HelpSteer3: a conversation, two responses and a signed strength",
    fits=has_columns("context", "response1", "response2", "overall_preference"),
    needs="context, response1, response2 and overall_preference",
    convert={PreferencePair: pair_by_sign("context", "response1", "response2", "overall_preference")},
)
