"""hh-rlhf (Bai et al. 2022, arXiv 2204.05862) as turns: two dialogues in one text each, equal up to the last turn.

A turn begins with a blank line, `Human:` or `Assistant:` and a space, wherever these stand; `trl-lib/hh-rlhf-helpful-base` was
cut in the same way. What stands behind the mark stays as it is.
"""

from __future__ import annotations

from typing import Any

from rlllm.core.records import Message, PreferencePair
from rlllm.data.schemas.base import Row, RowSchema, without
from rlllm.data.schemas.speaker_marks import split_turns


def _fits(row: Row) -> bool:
    if "prompt" in row:
        return False
    chosen, rejected = _turns(row.get("chosen")), _turns(row.get("rejected"))
    begins_and_ends = [turn["role"] for turn in (*chosen[:1], *chosen[-1:], *rejected[-1:])]
    return begins_and_ends == ["user", "assistant", "assistant"] and chosen[:-1] == rejected[:-1]


def _turns(side: Any) -> list[Message]:
    """The turns of a dialogue; empty where a mark is followed by anything but a space or the next mark."""
    turns = split_turns(side) if isinstance(side, str) else []
    if any(turn["content"] and not turn["content"].startswith(" ") for turn in turns):
        return []
    return [{"role": turn["role"], "content": turn["content"][1:]} for turn in turns]


def _convert(row: Row) -> list[dict[str, Any]]:
    chosen, rejected = _turns(row["chosen"]), _turns(row["rejected"])
    sides = {"chosen": chosen[-1]["content"], "rejected": rejected[-1]["content"]}
    return [{**without(row, "chosen", "rejected"), "prompt": chosen[:-1], **sides}]


SCHEMA = RowSchema(
    name="hh-rlhf",
    summary="Anthropic's hh-rlhf as turns: two dialogues that differ in their last turn",
    fits=_fits,
    needs="chosen and rejected whose turns begin with a blank line and Human: or Assistant:, equal up to the last turn "
    "(data.row_schema=hh-rlhf-text keeps dialogues as text)",
    convert={PreferencePair: _convert},
    precedence=1,
)
