"""hh-rlhf (Bai et al. 2022, arXiv 2204.05862): two dialogues as text, which are cut at the last turn that they share."""

from __future__ import annotations

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import Row, RowSchema

_HUMAN = "\n\nHuman:"


def _fits(row: Row) -> bool:
    sides = (row.get("chosen"), row.get("rejected"))
    return "prompt" not in row and all(isinstance(side, str) and side.startswith(_HUMAN) for side in sides)


SCHEMA = RowSchema(
    name="hh-rlhf",
    summary="Anthropic's hh-rlhf: two dialogues that differ in their last turn",
    fits=_fits,
    needs="chosen and rejected that begin with a blank line and Human:",
    columns={PreferencePair: {"chosen": "chosen", "rejected": "rejected"}},
)
