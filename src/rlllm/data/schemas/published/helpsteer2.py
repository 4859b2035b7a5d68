"""HelpSteer2 (Wang et al. 2024, arXiv 2406.08673): two consecutive rows hold the two responses to one prompt."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import FOLLOWING, Row, RowError, RowSchema, has_columns, number, text, without

_SCORES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def _convert(row: Row) -> list[dict[str, Any]]:
    """A pair by helpfulness, with the difference as its margin; no pair where both are equal."""
    both = [row, *row[FOLLOWING]]
    if len(both) != 2:
        raise RowError(f"begins {len(both)} rows with one prompt, where a pair takes 2")
    scores = [number(response_row["helpfulness"], "helpfulness") for response_row in both]
    responses = [text(response_row["response"], "response") for response_row in both]
    if scores[0] == scores[1]:
        return []
    better = int(scores[1] > scores[0])
    pair = {**without(row, "response", FOLLOWING, *_SCORES), "margin": abs(scores[0] - scores[1])}
    for side, index in (("chosen", better), ("rejected", 1 - better)):
        pair |= {side: responses[index]}
        pair |= {f"{name}_{side}": both[index].get(name) for name in _SCORES}
    return [pair]


SCHEMA = RowSchema(
    name="helpsteer2",
    summary="HelpSteer2: two rated responses to each prompt, in consecutive rows",
    fits=has_columns("prompt", "response", "helpfulness", "correctness"),
    needs="prompt, response and its scores",
    convert={PreferencePair: _convert},
    group_by={PreferencePair: "prompt"},
)
