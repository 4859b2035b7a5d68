"""hh-rlhf (Bai et al. 2022, arXiv 2204.05862) as text: two dialogues, which are cut at the last turn that they share."""

from __future__ import annotations

from rlllm.core.records import PreferencePair
from rlllm.data.schemas.base import Row, RowSchema

_HUMAN = "\n\nHuman:"


def _fits(row: Row) -> bool:
    sides = (row.get("chosen"), row.get("rejected"))
    return "prompt" not in row and all(isinstance(side, str) and side.startswith(_HUMAN) for side in sides)


SCHEMA = RowSchema(
    name="hh-rlhf-text",
    summary="Anthropic's hh-rlhf as text, for models without a chat template: what hh-rlhf makes turns of, left as it is",
    fits=_fits,
    needs="chosen and rejected that begin with a blank line and Human:",
    columns={PreferencePair: {"chosen": "chosen", "rejected": "rejected"}},
)
