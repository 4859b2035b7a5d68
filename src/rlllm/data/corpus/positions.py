"""Positions of a text: what stands before a place, and the tokens that follow it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.records import Conversation, PromptTask, Record
from rlllm.data.corpus.documents import Document

BOUNDARIES = "boundaries"
"""Column of a position: the lengths in characters of the beginnings of its continuation that end where a token ends."""
ENTROPY = "entropy"
"""Column of a position: how uncertain the proxy model is of the token that follows, in nats."""
PREFIX = "prefix"
"""Column of a position whose prompt has words around the text: the text alone."""
_WORD = re.compile(r"\s*\S+")


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a text a position shows.

    Args:
        context: tokens before it, at most.
        least_context: tokens before it, at least.
        continuation: tokens behind it, at most.
    """

    context: int
    least_context: int
    continuation: int


def word_ends(text: str) -> list[int]:
    """Where each word ends, for a text that no tokenizer has cut: a word takes the white space before it."""
    return [match.end() for match in _WORD.finditer(text)]


def places(text: str, ends: Sequence[int], window: Window) -> list[int]:
    """Numbers of the tokens before which a position may stand: something follows, and not white space alone.

    Args:
        text: of the document.
        ends: for each of its tokens, the place in characters at which it ends.
        window: how much a position shows.
    """
    found = []
    for number in range(window.least_context, len(ends)):
        last = min(len(ends), number + window.continuation) - 1
        if text[ends[number - 1] : ends[last]].strip():
            found.append(number)
    return found


def position(
    document: Document, ends: Sequence[int], number: int, window: Window, meta: Mapping[str, Any], kind: type[Record]
) -> Record:
    """The position before one token, as a prompt and its answer, or as a prompt and the completion to imitate.

    Args:
        document: the text.
        ends: where each of its tokens ends.
        number: of the token that is to be predicted.
        window: how much a position shows.
        meta: further columns.
        kind: `PromptTask` or `Conversation`.
    """
    first, last = max(0, number - window.context), min(len(ends), number + window.continuation)
    start, place = (ends[first - 1] if first else 0), ends[number - 1]
    columns = {
        "document": document.name,
        "place": place,
        BOUNDARIES: [end - place for end in ends[number:last]],
        **meta,
    }
    prefix, continuation = document.text[start:place], document.text[place : ends[last - 1]]
    if kind is Conversation:
        return Conversation(prefix, continuation, {**columns, "answer": continuation})
    return PromptTask(prefix, continuation, columns)


def drawn(candidates: Sequence[int], most: int, document: Document, seed: int) -> list[int]:
    """At most `most` of the candidates, drawn by a hash of the text, the seed and the place, in their order in the text."""
    if len(candidates) <= most:
        return list(candidates)
    text = hashlib.sha256(document.text.encode()).hexdigest()
    by_hash = sorted(candidates, key=lambda place: hashlib.sha256(f"{text} {seed} {place}".encode()).digest())
    return sorted(by_hash[:most])
