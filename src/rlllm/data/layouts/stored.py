"""Records as rlllm writes them: one object with all fields of the record, `meta` among them. They come back as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
)
from rlllm.data.layouts.base import Row, RowLayout


def _layout(kind: type[Record]) -> RowLayout:
    names = [field.name for field in fields(kind)]

    def fits(row: Row) -> bool:
        return row.keys() == set(names) and isinstance(row["meta"], dict)

    as_tasks = {"prompt": "prompt", "answer": "meta.answer", "meta": "meta"}
    return RowLayout(
        name=f"of stored {kind.__name__} records",
        fits=fits,
        needs=f"the fields {', '.join(names)} and no others",
        maps={PromptTask: as_tasks, kind: {name: name for name in names}},
    )


_KINDS = (PromptTask, Conversation, PreferencePair, LabelledCompletion, StepwiseSolution)
STORED = tuple(map(_layout, _KINDS))


def stored_kind(rows: Sequence[Row]) -> type[Record] | None:
    """The type of which more than half of these rows are stored records; None where they are no such rows."""
    kinds = zip(_KINDS, STORED, strict=True)
    return next((kind for kind, layout in kinds if 2 * sum(map(layout.fits, rows)) > len(rows)), None)
