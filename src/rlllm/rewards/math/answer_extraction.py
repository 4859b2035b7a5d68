r"""Which answer a completion gives to a mathematical question, and whether it gives several to choose from.

Whoever lists every candidate has not answered. Text before the last `</think>` is working and gives no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rlllm.parsing.answers import marked_answers


@dataclass(frozen=True, slots=True)
class Answer:
    """What a completion answers; several marked answers that differ are one list."""

    text: str
    """The marked answer, or the whole text where nothing is marked."""
    marked: bool
    several: bool
    """True if it offers at least two different values."""


def read_answer(completion: str) -> Answer:
    """The final answer, marked or not; see `parsing.answers` for the markers."""
    text = completion.rpartition("</think>")[2]
    text = text if text.strip() else completion
    marks = list({"".join(mark.answer.split()): mark.answer for mark in marked_answers(text)}.values())
    if not marks:
        return Answer(text, marked=False, several=_lists_numbers(text))
    return Answer(", ".join(marks), marked=True, several=len(marks) > 1 or offers_several(marks[0]))


_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\!,|,\\!)(?=\d{3}(?!\d))")
_TOKEN = re.compile(
    r"(?P<aside>\(\s*(?:or|and)(?![a-zA-Z]))|(?P<open>\\left\s*.|\\?[(\[{])|(?P<close>\\right\s*.|\\?[)\]}])"
    r"|(?P<separator>[,;\n]|\\q?quad|(?:\\(?:text|mathrm|mbox)\s*\{\s*(?:or|and)\s*\})|(?<![a-zA-Z])(?:or|and)(?![a-zA-Z]))"
)


_WORDS = re.compile(r"\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}")


def offers_several(answer: str) -> bool:
    """Whether a marked answer separates at least two different parts with numbers in them, outside of any bracket.

    `(or 6)` is a part as well, and words count the same inside of `\\text{}`.
    """
    plain = _WORDS.sub(r" \1 ", _THOUSANDS.sub("", answer))
    parts = {"".join(part.split()) for part in _top_level_parts(plain)}
    return len([part for part in parts if re.search(r"\d", part)]) > 1


def _top_level_parts(text: str) -> Iterator[str]:
    depth = start = 0
    for token in _TOKEN.finditer(text):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth = max(0, depth - 1)
        elif depth == 0 or token["aside"]:
            yield text[start : token.start()]
            start = token.end()
    yield text[start:]


_NOT_SINGLE = re.compile(
    r"[,;\n<>\u2264\u2265\u222a\u2208\u00b1]|\\(?:pm|mp|cup|in|quad|begin|le|leq|ge|geq|lt|gt|ne|neq|\{)(?![a-zA-Z])"
    r"|(?<![a-zA-Z])(?:or|and)(?![a-zA-Z])"
)


def is_single(reference: str) -> bool:
    """Whether a reference is one value: no list, set, tuple, interval, matrix or relation other than an equation."""
    return not _NOT_SINGLE.search(_THOUSANDS.sub("", reference))


_RELATION = re.compile(
    r"[<>\u2260\u2264\u2265\u226a\u226b]|\A\s*!=|\\(?:ne|neq|not|notin|lt|gt|le|ge|leq|geq|leqslant|geqslant|nless|ngtr|nleq"
    r"|ngeq|ll|gg)(?![a-zA-Z])"
)


def is_relation(answer: str) -> bool:
    """Whether an answer says how a value compares ("at least 5", "not 5"), where math-verify may see the value alone."""
    return _RELATION.search(answer) is not None


def holds_several_numbers(answer: str) -> bool:
    """Whether at least two different numbers stand in it, anywhere."""
    return len(set(re.findall(r"\d+(?:\.\d+)?", _THOUSANDS.sub("", answer)))) > 1


_SENTENCE = 200
"""Characters after the word "answer" that are searched for a list."""
_ANCHOR = re.compile(r"answer", re.IGNORECASE)
_LABEL = r"\(?[A-Ha-h][).:][ \t]*"
_BETWEEN = r"\s*(?:[,;|?\n]|(?<![a-z])(?:or|and)(?![a-z]))[,;|?\s]*(?:(?:or|and)(?![a-z])\s*)?"
_NUMBER = rf"(?:{_LABEL})?\(?\\?\$?-?\d+(?:\.\d+)?(?:/\d+)?\\?[%$]?\)?"
_LIST = re.compile(rf"(?<![\w.]){_NUMBER}(?:(?:{_BETWEEN}|\s+(?={_LABEL})){_NUMBER})+")


def _lists_numbers(text: str) -> bool:
    """Whether an unmarked text answers with a list of numbers, where math-verify would take one of them.

    That is the first number of the sentence after the last "answer", or else the last number of the last line.
    """
    text = _THOUSANDS.sub("", text)
    sentences = (re.split(r"\.\s", text[m.end() : m.end() + _SENTENCE], maxsplit=1)[0] for m in _ANCHOR.finditer(text))
    answers = [sentence for sentence in sentences if re.search(r"\d", sentence)]
    lines = text.strip().splitlines()
    ending = answers[-1] if answers else (lines[-1] if lines else "")
    for listing in _LIST.finditer(ending):
        others = ending[: listing.start()] if answers else ending[listing.end() :]
        if not re.search(r"\d", others) and len(set(re.findall(r"-?\d+(?:\.\d+)?", listing.group()))) > 1:
            return True
    return False
