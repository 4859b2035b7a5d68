"""Checks of content and layout: postscripts, placeholders, bullets, sections, titles, JSON."""

from __future__ import annotations

import re

from rlllm.rewards.verifiers.submissions import fenced_blocks, parse_json

_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""The options of the benchmark's one constrained response."""
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*[^\[\]\s][^\[\]\n]*\]")
_BULLET = re.compile(r"^[ \t]*[*-][ \t]+[^\s*-].*$|^[ \t]*[*-][ \t]+\*+[^\s*].*$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*\*(?=\S)[^\n*]+(?<=\S)\*\*|\*(?=[^\s*])[^\n*]+(?<=\S)\*")
_TITLE = re.compile(r"<<[^\n<>]*[^\s<>][^\n<>]*>>")
_POSTSCRIPTS = {"P.S.": r"(?<!\w)(?<!\bp\.)(?<!\bp\. )p\.[ ]?s\.", "P.P.S": r"(?<!\w)p\.[ ]?p\.[ ]?s\b\.?"}


def has_postscript(text: str, postscript_marker: str) -> bool:
    """The marker ("P.S." or "P.P.S"), and behind it some text."""
    marker = postscript_marker.strip()
    pattern = _POSTSCRIPTS.get(marker, rf"(?<!\w){re.escape(marker)}")
    return re.search(rf"{pattern}[^\w\n]*\w", text, re.IGNORECASE) is not None


def has_placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many placeholders in square brackets, such as [address]; empty brackets are none."""
    return len(_PLACEHOLDER.findall(text)) >= num_placeholders


def has_bullets(text: str, num_bullets: int) -> bool:
    """Exactly so many lines that begin with `* ` or `- ` and go on; a divider (`---`) is none."""
    return len(_BULLET.findall(text)) == num_bullets


def has_highlights(text: str, num_highlights: int) -> bool:
    """At least so many stretches between single or double asterisks, within a line."""
    return len(_HIGHLIGHT.findall(text)) >= num_highlights


def has_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many sections: lines that begin with the word and a number of their own, each with some text."""
    heading = re.compile(rf"^[ \t#*_>]*{re.escape(section_spliter.strip())}[ \t]*(\d+)", re.MULTILINE)
    parts = heading.split(text)
    numbers = {number for number, body in zip(parts[1::2], parts[2::2], strict=True) if re.search(r"\w", body)}
    return len(numbers) >= num_sections


def is_json(text: str) -> bool:
    """The whole text is JSON, or one fenced block of it."""
    blocks = fenced_blocks(text)
    json_text = text.strip()
    if blocks and json_text.startswith(("```", "~~~")):
        json_text = blocks[0][1] if len(blocks) == 1 and json_text.rstrip().endswith(("```", "~~~")) else ""
    try:
        parse_json(json_text)
    except ValueError:
        return False
    return True


def has_title(text: str) -> bool:
    """A title in double angular brackets, such as <<poem of joy>>."""
    return _TITLE.search(text) is not None


def is_constrained_response(text: str) -> bool:
    """Just one of the three options of `_CONSTRAINED` stands in the text."""
    return sum(option in text for option in _CONSTRAINED) == 1
