"""Records as rlllm writes them: one object with all fields of the record, `meta` among them. They come back as they were."""

from __future__ import annotations

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


STORED = tuple(map(_layout, (PromptTask, Conversation, PreferencePair, LabelledCompletion, StepwiseSolution)))
