"""Records as rlllm writes them: one object with all fields of the record, `meta` among them. They come back as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from rlllm.core.records import RECORD_TYPES, Conversation, PromptTask, Record
from rlllm.data.schemas.base import Row, RowSchema
from rlllm.parsing.answers import extract_answer


def _layout(kind: type[Record]) -> RowSchema:
    names = [field.name for field in fields(kind)]

    def fits(row: Row) -> bool:
        return row.keys() == set(names) and isinstance(row["meta"], dict)

    same = {kind: {name: name for name in names}}
    as_tasks = {"prompt": "prompt", "answer": "meta.answer", "meta": "meta"}
    return RowSchema(
        name=f"of stored {kind.__name__} records",
        fits=fits,
        needs=f"the fields {', '.join(names)} and no others",
        maps=same if kind is Conversation else {PromptTask: as_tasks, **same},
        expands={PromptTask: _task_of_conversation} if kind is Conversation else {},
    )


def _task_of_conversation(row: Row, place: str) -> list[dict[str, Any]]:
    """The prompt, with the answer that the row brings, or else the one that its completion marks."""
    answer = row["meta"].get("answer")
    if answer is None:
        answer = extract_answer(str(row["completion"]))
    return [{**row["meta"], "prompt": row["prompt"], **({} if answer is None else {"answer": answer})}]


STORED = tuple(map(_layout, RECORD_TYPES.values()))


def stored_kind(rows: Sequence[Row]) -> type[Record] | None:
    """The type of which more than half of these rows are stored records; None where they are no such rows."""
    kinds = zip(RECORD_TYPES.values(), STORED, strict=True)
    return next((kind for kind, layout in kinds if 2 * sum(map(layout.fits, rows)) > len(rows)), None)
