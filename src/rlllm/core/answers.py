r"""Reading the final answer out of a completion. The one place that knows how answers are marked.

Three markers are known: `#### x` up to the end of its line (GSM8K), `\boxed{x}` with balanced braces (LaTeX), and
`<answer>x</answer>`. The last marker wins; of a marker inside another (`#### \boxed{7}`) the inner one is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*((?:(?!</answer>)[^\n\r])*)")
_TAGS = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)
_BOXED = re.compile(r"\\f?boxed\s*\{")


class MarkedAnswer(NamedTuple):
    """An answer, stripped of outer blanks, and the span of its marker in the text: `text[start:end]`."""

    answer: str
    start: int
    end: int


def extract_answer(text: str) -> str | None:
    """The last marked answer, stripped; None if there is no marker or nothing inside it."""
    found = marked_answers(text)
    return found[-1].answer if found else None


def marked_answers(text: str) -> list[MarkedAnswer]:
    """Every non-empty marked answer in order of appearance; of nested markers only the innermost."""
    found = sorted((*_simple(text), *_boxed(text)), key=lambda mark: (mark.start, -mark.end))
    starts = [mark.start for mark in found[1:]]
    return [mark for mark, following in zip(found, [*starts, len(text)], strict=False) if following >= mark.end]


def has_answer_at_end(text: str) -> bool:
    """True if there is exactly one marked answer and only blanks, closing brackets, `$` or full stops after it."""
    found = marked_answers(text)
    return len(found) == 1 and re.fullmatch(r"(?:</answer>|[\s\]})$.])*", text[found[0].end :]) is not None


def _simple(text: str) -> Iterator[MarkedAnswer]:
    for pattern in (_HASHES, _TAGS):
        for match in pattern.finditer(text):
            if answer := match.group(1).strip():
                yield MarkedAnswer(answer, match.start(), match.end())


def _boxed(text: str) -> Iterator[MarkedAnswer]:
    for match in _BOXED.finditer(text):
        end = _closing_brace(text, match.end())
        if end is not None and (answer := text[match.end() : end].strip()):
            yield MarkedAnswer(answer, match.start(), end + 1)


def _closing_brace(text: str, start: int) -> int | None:
    """Index of the brace that closes the one just before `start`; a backslash escapes the next character."""
    depth = 1
    position = start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None
