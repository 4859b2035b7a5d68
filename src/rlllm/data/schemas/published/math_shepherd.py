"""Math-Shepherd (Wang et al. 2023, arXiv 2312.08935): `label` is `input` with + or - in the place of each step tag."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PromptTask, StepwiseSolution
from rlllm.data.schemas.base import Row, RowError, RowSchema, text, without

_TAG = "\u043a\u0438"
"""The two Cyrillic letters that end each step."""
_FIRST_STEP = "Step 1:"
_SIGNS = {"+": True, "-": False}


def _fits(row: Row) -> bool:
    tagged, label = row.get("input"), row.get("label")
    return isinstance(tagged, str) and isinstance(label, str) and _TAG in tagged and _FIRST_STEP in tagged


def _solution(row: Row) -> list[dict[str, Any]]:
    *parts, after = row["input"].split(_TAG)
    if after.strip():
        raise RowError("has text behind the tag of the last step")
    labels: list[bool] = []
    position = 0
    for part in parts:
        end = position + len(part)
        sign = row["label"][end : end + 1]
        if row["label"][position:end] != part or sign not in _SIGNS:
            raise RowError(f"has a label that is not its input with + or - for the tag of step {len(labels) + 1}")
        labels.append(_SIGNS[sign])
        position = end + 1
    prompt, _, first = parts[0].partition(_FIRST_STEP)
    steps = [step.strip() for step in (_FIRST_STEP + first, *parts[1:])]
    columns = {"prompt": text(prompt.strip(), "the problem"), "steps": steps, "labels": labels}
    return [{**without(row, "input", "label"), **columns}]


def _task(row: Row) -> list[dict[str, Any]]:
    return [without(solution, "steps", "labels") for solution in _solution(row)]


SCHEMA = RowSchema(
    name="math-shepherd",
    summary="Math-Shepherd: solutions with a sign for each step",
    fits=_fits,
    needs=f"an input with {_FIRST_STEP} and the tag {_TAG} behind each step, and its label",
    convert={StepwiseSolution: _solution, PromptTask: _task},
)
