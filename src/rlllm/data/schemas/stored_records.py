"""Records as rlllm writes them: one object with all fields of a record, `meta` among them. They are read back unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from rlllm.core.records import RECORD_TYPES, Conversation, PromptTask, Record
from rlllm.data.schemas.base import Row, RowSchema
from rlllm.parsing.answers import extract_answer


def _schema(kind: type[Record]) -> RowSchema:
    names = [field.name for field in fields(kind)]

    def fits(row: Row) -> bool:
        return row.keys() == set(names) and isinstance(row["meta"], dict)

    own_fields = {kind: {name: name for name in names}}
    task_fields = {"prompt": "prompt", "answer": "meta.answer", "meta": "meta"}
    return RowSchema(
        name=f"of stored {kind.__name__} records",
        summary=f"{kind.__name__} records as rlllm writes them",
        fits=fits,
        needs=f"the fields {', '.join(names)} and no others",
        columns=own_fields if kind is Conversation else {PromptTask: task_fields, **own_fields},
        convert={PromptTask: _task_of_conversation} if kind is Conversation else {},
    )


def _task_of_conversation(row: Row) -> list[dict[str, Any]]:
    """The prompt, with `meta.answer` or else the answer that the completion marks."""
    answer = row["meta"].get("answer")
    if answer is None:
        answer = extract_answer(str(row["completion"]))
    return [{**row["meta"], "prompt": row["prompt"], **({} if answer is None else {"answer": answer})}]


STORED_SCHEMAS = {kind: _schema(kind) for kind in RECORD_TYPES.values()}
"""Record type -> the schema of its stored records."""


def stored_type(rows: Sequence[Row]) -> type[Record] | None:
    """The record type of which more than half of these rows are stored records; None where there is none."""
    return next((kind for kind, schema in STORED_SCHEMAS.items() if 2 * sum(map(schema.fits, rows)) > len(rows)), None)
