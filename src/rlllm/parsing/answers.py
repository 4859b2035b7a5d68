r"""The final answer of a completion: markers of answers, and extraction.

The markers are `#### x` up to the end of its line (GSM8K), `\boxed{x}` and `\fbox{x}` with balanced braces (LaTeX; also
`\boxed 7`, as a few solutions of MATH have it), and `<answer>x</answer>` in either case. The last marker wins; of a marker
inside another (`#### \boxed{7}`) the inner one is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from rlllm.parsing.answer_text import CLOSING_STOPS

_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*((?:(?!</answer>)[^\n\r])*)", re.IGNORECASE)
_TAGS = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL | re.IGNORECASE)
_BOX = r"\\(?:boxed|fbox|framebox)(?![a-zA-Z])"
_BOXED = re.compile(_BOX + r"\s*\{")
_BARE = re.compile(
    _BOX + r"[ \t]*(?P<answer>-?[ \t]?\\[dt]?frac\s*(?:\d\s*\d|\{[^{}]*\}\s*\{[^{}]*\})"
    r"|-?[ \t]?\\(?:sqrt\s*(?:\d|\{[^{}]*\})|pi(?![a-zA-Z]))"
    r"|[-+]?\d(?:[\d.,/:]*\d)?(?:\\?%)?|[A-Z](?![a-zA-Z]))"
)
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_AFTER = re.compile(
    rf"(?:</answer>|\\[\])]|\\end\{{\w+\*?\}}"
    rf"|\\[,;!: ]|[\s\])}}$*_`\uff09\u3011\u300d{re.escape(CLOSING_STOPS)}\u200b\ufeff])*",
    re.IGNORECASE,
)
"""What may stand behind the last answer: closing delimiters of display, markdown and tags, and full stops of any script."""


class MarkedAnswer(NamedTuple):
    """An answer, stripped of outer blanks, and the span of its marker in the text: `text[start:end]`."""

    answer: str
    start: int
    end: int


def extract_answer(text: str) -> str | None:
    """The last marked answer, stripped; None if there is no marker or nothing inside it."""
    answers = marked_answers(text)
    return answers[-1].answer if answers else None


def marked_answers(text: str) -> list[MarkedAnswer]:
    """Every non-empty marked answer in order of appearance; of nested markers only the innermost."""
    if "####" not in text and "box" not in text and "<" not in text:
        return []
    marks = sorted((*_simple(text), *_boxed(text)), key=lambda mark: (mark.start, -mark.end))
    starts = [mark.start for mark in marks[1:]]
    return [mark for mark, following in zip(marks, [*starts, len(text)], strict=False) if following >= mark.end]


def has_answer_at_end(text: str) -> bool:
    r"""True if there is exactly one marked answer and only blanks, closing delimiters or full stops after it.

    Closing delimiters are brackets, `$`, `\]`, `\)`, `\end{...}`, the asterisks of bold text and code ticks.
    """
    answers = marked_answers(text)
    return len(answers) == 1 and _AFTER.fullmatch(text, answers[0].end) is not None


def _simple(text: str) -> Iterator[MarkedAnswer]:
    for pattern in (_HASHES, _TAGS):
        for match in pattern.finditer(text):
            if answer := match.group(1).strip():
                yield MarkedAnswer(answer, match.start(), match.end())


def _boxed(text: str) -> Iterator[MarkedAnswer]:
    if "box" not in text:
        return
    closing = _closing_braces(text)
    braced = list(_BOXED.finditer(text))
    for match in braced:
        end = closing.get(match.end() - 1)
        if end is not None and (answer := text[match.end() : end].strip()):
            yield MarkedAnswer(answer, match.start(), end + 1)
    for match in _BARE.finditer(text) if text.count("box") > len(braced) else ():
        yield MarkedAnswer(match["answer"], match.start(), match.end())


def _closing_braces(text: str) -> dict[int, int]:
    """Index of each closed brace -> index of the one that closes it; a backslash escapes the next character.

    One pass: a model that repeats `\\boxed{` to its length limit would keep a search from each of them busy for minutes.
    """
    opened: list[int] = []
    closing = {}
    for token in _BRACES.finditer(text):
        if token.group() == "{":
            opened.append(token.start())
        elif token.group() == "}" and opened:
            closing[opened.pop()] = token.start()
    return closing
