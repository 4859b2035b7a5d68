"""Dialogues in one text, whose turns begin with a blank line and `Human:` or `Assistant:` (hh-rlhf, Nectar)."""

from __future__ import annotations

import re

from rlllm.core.records import Message

_MARK = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def split_turns(text: str) -> list[Message]:
    """The turns of a dialogue, each with all that stands behind its colon; empty where other text stands before the first."""
    start, *parts = _MARK.split(text)
    if start.strip():
        return []
    return [{"role": _ROLES[name], "content": said} for name, said in zip(parts[::2], parts[1::2], strict=True)]
