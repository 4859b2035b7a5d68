"""HelpSteer2-Preference (Wang et al. 2024, arXiv 2410.01257). The margin is the strength of the preference."""

from __future__ import annotations

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import RowSchema, has_columns
from rlllm.data.schemas.signed_preference import pair_by_sign

SCHEMA = RowSchema(
    name="helpsteer2-preference",
    summary="HelpSteer2-Preference: two responses and a signed strength",
    fits=has_columns("prompt", "response_1", "response_2", "preference_strength"),
    needs="prompt, response_1, response_2 and preference_strength",
    convert={PreferencePair: pair_by_sign("prompt", "response_1", "response_2", "preference_strength")},
)
