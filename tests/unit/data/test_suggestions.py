"""The column map that an error suggests names columns that could hold the fields, or none."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask, Record, StepwiseSolution
from rlllm.data.io.formats import number_rows
from rlllm.data.to_records import adapt


@pytest.mark.parametrize(
    ("row", "kind", "map_"),
    [
        ({"prompt": "q", "answer": "4", "id": "17"}, PreferencePair, "chosen=COLUMN,rejected=COLUMN"),
        ({"prompt": "q", "answer": "4", "id": "17"}, LabelledCompletion, "label=COLUMN"),
        ({"prompt": "q", "completion": "4", "model": "gpt"}, LabelledCompletion, "label=COLUMN"),
        ({"prompt": "q", "completion": "4", "ok": "yes"}, LabelledCompletion, "label=ok"),
        ({"id": "a1", "url": "http://x", "timestamp": "2020"}, Conversation, "prompt=COLUMN,completion=COLUMN"),
        ({"id": "a1", "lang": "en", "tweet": "hello"}, Conversation, "prompt=COLUMN,completion=COLUMN"),
        ({"input_ids": [1, 2], "labels": [1, 2]}, Conversation, "prompt=COLUMN,completion=COLUMN"),
        ({"prompt": "q", "responses": ["x", "y"], "best": 0}, PreferencePair, "chosen=COLUMN,rejected=COLUMN"),
        ({"premise": "a", "hypothesis": "b", "label": 0}, LabelledCompletion, "prompt=premise,completion=hypothesis"),
        ({"title": "a", "body": "b", "created_at": "2020"}, Conversation, "prompt=title,completion=body"),
        ({"question": "q", "parts": ["a"], "marks": [1]}, StepwiseSolution, "steps=parts,labels=marks"),
        (
            {"prompt": "q", "response_a": "x", "response_b": "y", "better": "a"},
            PreferencePair,
            "first=response_a,second=response_b,winner=better",
        ),
        (
            {"task": "q", "answer_0": "x", "answer_1": "y", "vote": "left"},
            PreferencePair,
            "prompt=task,first=answer_0,second=answer_1,winner=vote:FIRST/SECOND",
        ),
        (
            {"prompt": "q", "answer1": "x", "answer2": "y", "id": "1"},
            PreferencePair,
            "first=answer1,second=answer2,winner=COLUMN:FIRST/SECOND",
        ),
    ],
)
def test_a_missing_column_is_suggested_by_name_and_type(row: dict[str, Any], kind: type[Record], map_: str) -> None:
    with pytest.raises(DataError, match="no column for") as caught:
        adapt(number_rows([row], "rows"), kind, {}, "rows")
    assert caught.value.hint == f"say which column it is: --columns {map_}"


@pytest.mark.parametrize(
    ("row", "kind", "suggested"),
    [
        ({"prompt": None, "id": "17", "answer": "x"}, PromptTask, None),
        ({"prompt": None, "title": "q", "answer": "x"}, PromptTask, "prompt=title"),
        ({"prompt": "p", "chosen": "", "rejected": "b", "model": "gpt-4"}, PreferencePair, None),
        ({"question": "q", "solution": {"a": 1}, "uuid": "u-1"}, PromptTask, None),
        ({"question": "q", "solution": {"a": 1}, "result": 7}, PromptTask, "answer=result"),
        ({"prompt": "q", "completion": "a", "label": "good", "safe": True}, LabelledCompletion, "label=safe"),
        ({"prompt": "q", "completion": "a", "label": "good", "note": "fine"}, LabelledCompletion, None),
    ],
)
def test_a_value_that_does_not_fit_suggests_a_column_that_could(
    row: dict[str, Any], kind: type[Record], suggested: str | None
) -> None:
    with pytest.raises(DataError) as caught:
        adapt(number_rows([row], "rows"), kind, {}, "rows")
    hint = str(caught.value.hint)
    assert ("--columns" in hint) == (suggested is not None)
    assert suggested is None or f"--columns {suggested};" in hint
