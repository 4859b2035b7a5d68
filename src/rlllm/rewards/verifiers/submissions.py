"""Extract the one block of SQL, JSON or calls that a completion submits. Two different blocks count as none.

Only the text after the last `</think>` counts. Then, in this order: the fenced blocks of the requested languages, the marked
answers of `parsing.answers`, the whole text. Every step is linear in the length of the text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from rlllm.parsing.answers import marked_answers

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
_INVISIBLE = " \t\r\n\ufeff\u200b\u2060"
_BETWEEN_VALUES = re.compile(r"\s*[;,]?\s*")
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*")


class Submission(NamedTuple):
    """What was handed in, or why nothing was. Exactly one of the two is set."""

    text: str | None
    fault: str | None = None


def final_part(completion: str) -> str:
    """The text behind the last `</think>`; nothing of a text whose thinking never ends."""
    tail = completion.rpartition(THINK_CLOSE)[2]
    return "" if tail.lstrip().startswith(THINK_OPEN) else tail


def submission(completion: str, languages: Collection[str], *, other_labels: bool = False) -> Submission:
    """The one block a completion submits.

    Args:
        completion: the whole text.
        languages: labels of fences that count, in lower case; a fence without a label counts as well.
        other_labels: fences of any label count where none of these is there.
    """
    text = final_part(completion)
    if not text.strip():
        return Submission(None, "nothing is submitted")
    fences = fenced_blocks(text)
    blocks = [body for label, body in fences if label in languages or not label]
    if not blocks and other_labels:
        blocks = [body for _, body in fences]
    if blocks:
        return _only(blocks, "fenced blocks")
    answers = [mark.answer for mark in marked_answers(text)]
    return _only(answers, "marked answers") if answers else Submission(text.strip())


def _only(bodies: Iterable[str], what: str) -> Submission:
    different = {body.strip() for body in bodies}
    if len(different) > 1:
        return Submission(None, f"{len(different)} different {what}")
    body = different.pop()
    return Submission(body) if body else Submission(None, "nothing is submitted")


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """(label in lower case, body) of every closed block between lines of three or more backticks or tildes."""
    blocks: list[tuple[str, str]] = []
    fence, label, body = "", "", list[str]()
    for line in text.split("\n"):
        if fence:
            if _closes(line, fence):
                blocks.append((label, "\n".join(body)))
                fence = ""
            else:
                body.append(line)
        elif opening := _FENCE.fullmatch(line):
            fence, label, body = opening[1], opening[2].lower(), []
    return blocks


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return len(mark) >= len(fence) and not mark.strip(fence[0])


def parse_json(text: str) -> Any:
    """The value of a JSON text, by the standard: no NaN or infinity, no key twice in one object.

    A byte order mark and zero-width characters around it are left out: RFC 8259 allows that of a parser.

    Raises:
        ValueError: not JSON, nested too deeply, or a number no float can hold.
    """
    try:
        return JSON_DECODER.decode(text.strip(_INVISIBLE))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def json_series(text: str) -> list[Any]:
    """The values of JSON texts one after another, with blanks, commas or semicolons between them; at least one.

    Raises:
        ValueError: as `parse_json`.
    """
    values: list[Any] = []
    position = 0
    text = text.strip(_INVISIBLE)
    try:
        while position < len(text) or not values:
            value, end = JSON_DECODER.raw_decode(text, position)
            values.append(value)
            position = _BETWEEN_VALUES.match(text, end).end()  # type: ignore[union-attr]
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return values


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON value")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return mapping


JSON_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique)
"""Reads JSON by the standard; raises a ValueError or a RecursionError."""
