"""Multiple-choice rows: a prompt that lists the options, and the letter of the right one as the answer.

`meta` holds `choices` as `{"label": [...], "text": [...]}`, which the reward `choice` reads. Options with the labels 1, 2, ...
get letters, since an answer "1" could also be an index from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from string import ascii_uppercase
from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Converter, Row, RowSchema, text, without

Options = tuple[Sequence[Any], Any]
"""The texts of the options in order, and the index of the right one."""


def schema_of(
    name: str, summary: str, read: Callable[[Row], Options | None], needs: str, used: Sequence[str]
) -> RowSchema:
    """The schema of multiple-choice rows.

    Args:
        read: a row -> its options; None where it has none that can be read.
        used: columns that `read` uses up, which therefore do not become `meta`.
    """
    fields = {PromptTask: "answer", Conversation: "completion"}
    return RowSchema(
        name=name,
        summary=summary,
        fits=_readable(read),
        needs=needs,
        convert={kind: _converter(read, field, used) for kind, field in fields.items()},
    )


def index_of(answer: Any) -> int | None:
    """An answer that is a letter or an index from 0, as an index."""
    if isinstance(answer, str) and len(answer.strip()) == 1 and answer.strip().upper() in ascii_uppercase:
        return ascii_uppercase.index(answer.strip().upper())
    return answer if type(answer) is int else None


def _readable(read: Callable[[Row], Options | None]) -> Callable[[Row], bool]:
    def fits(row: Row) -> bool:
        options = read(row) if isinstance(row.get("question"), str) else None
        if options is None:
            return False
        texts, right = options
        all_texts = all(isinstance(option, str) and option.strip() for option in texts)
        return all_texts and 2 <= len(texts) <= len(ascii_uppercase) and 0 <= right < len(texts)

    return fits


def _converter(read: Callable[[Row], Options | None], field: str, used: Sequence[str]) -> Converter:
    """Rows with the letter of the right option in `field`."""

    def convert(row: Row) -> list[dict[str, Any]]:
        texts, right = read(row) or ([], 0)
        labels = list(ascii_uppercase[: len(texts)])
        listed = "\n".join(f"{label}. {option}" for label, option in zip(labels, texts, strict=True))
        columns = {
            "prompt": f"{text(row['question'], 'question')}\n\n{listed}\n\nAnswer with the letter of one option.",
            "choices": {"label": labels, "text": list(texts)},
            field: labels[right],
        }
        return [{**without(row, "question", *used), **columns}]

    return convert
