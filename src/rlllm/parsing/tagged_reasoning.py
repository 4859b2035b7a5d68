"""Reasoning in five tags: what is seen, what is heard, how the two relate, the thought, the answer.

    <visual>cues</visual><audio>cues</audio><relation>agree|clash</relation><think>..</think><answer>truth|lie</answer>

A text parses if every tag is opened and closed once, in this order, and none stands inside another. Between tags and around
them anything else may stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

TAGS = ("visual", "audio", "relation", "think", "answer")
"""Names of the tags by their place."""
AGREE, CLASH = "agree", "clash"
TRUTH, LIE = "truth", "lie"


@dataclass(frozen=True, slots=True)
class TaggedReasoning:
    """The contents of the five tags, stripped of outer blanks."""

    visual: str
    audio: str
    relation: str
    think: str
    answer: str


def parse_tagged(text: str, tags: Sequence[str] = TAGS) -> TaggedReasoning | None:
    """What stands in the tags; None where one is missing, repeated, unclosed or out of order.

    Args:
        tags: five names, in the order of the fields.
    """
    marks = _marks(tuple(tags)).findall(text)
    if marks != [mark for tag in tags for mark in (f"<{tag}>", f"</{tag}>")]:
        return None
    contents = [text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0].strip() for tag in tags]
    return TaggedReasoning(*contents)


def write_tagged(reasoning: TaggedReasoning, tags: Sequence[str] = TAGS) -> list[str]:
    """The tags with their contents, one string a tag."""
    contents = (reasoning.visual, reasoning.audio, reasoning.relation, reasoning.think, reasoning.answer)
    return [f"<{tag}>{content}</{tag}>" for tag, content in zip(tags, contents, strict=True)]


def tag_fault(tags: Sequence[str]) -> str | None:
    """What is wrong with names of tags; None where there are five different ones of letters, digits, `-` and `_`."""
    if len(tags) != len(TAGS) or len(set(tags)) != len(TAGS):
        return f"five different tags are needed, such as {', '.join(TAGS)}"
    odd = [tag for tag in tags if not re.fullmatch(r"[\w-]+", tag)]
    return f"a tag is a word, and {odd[0]!r} is none" if odd else None


@lru_cache(maxsize=32)
def _marks(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"</?{re.escape(tag)}>" for tag in tags))
