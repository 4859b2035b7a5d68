"""Records as rlllm writes them: one object with all fields of a record, `meta` among them. They are read back unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from rlllm.core.records import OPTIONAL_FIELDS, RECORD_TYPES, Conversation, PromptTask, Record, full_text
from rlllm.data.schemas.base import Row, RowSchema
from rlllm.parsing.answers import extract_answer


def _schema(kind: type[Record]) -> RowSchema:
    names = [field.name for field in fields(kind) if field.name not in OPTIONAL_FIELDS]

    def fits(row: Row) -> bool:
        return row.keys() - OPTIONAL_FIELDS == set(names) and isinstance(row["meta"], dict)

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
        answer = extract_answer(full_text(row["completion"]))
    return [{**row["meta"], "prompt": row["prompt"], **({} if answer is None else {"answer": answer})}]


STORED_SCHEMAS = {kind: _schema(kind) for kind in RECORD_TYPES.values()}
"""Record type -> the schema of its stored records."""


def stored_type(rows: Sequence[Row]) -> type[Record] | None:
    """The record type of which more than half of these rows are stored records; None where there is none."""
    return next((kind for kind in STORED_SCHEMAS if are_stored(rows, kind)), None)


def are_stored(rows: Sequence[Row], kind: type[Record]) -> bool:
    """Whether more than half of these rows are stored records of a type, and none has its fields with another `meta`.

    rlllm always writes an object as `meta`. Rows of the same columns in which some `meta` is null or text are somebody's own.
    """
    schema = STORED_SCHEMAS[kind]
    stored = [schema.fits(row) for row in rows]
    others = (row for row, fits in zip(rows, stored, strict=True) if not fits)
    return 2 * sum(stored) > len(rows) and not any(schema.fits({**row, "meta": {}}) for row in others if "meta" in row)
