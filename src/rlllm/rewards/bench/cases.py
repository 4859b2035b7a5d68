"""Test cases of a reward: a completion with the expected score. They are read from labelled rows or derived from tasks.

A row with a `completion` is a case and holds `label` (whether it passes) or `score` (the exact number; null for "cannot
judge"). A row without one is a task, from which `derived_cases` makes cases. The row's other columns are given to the reward.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import PromptTask, Sample, Score, answer_of
from rlllm.core.runs import read_jsonl

_LABELLED = "labelled"
_OWN = ("prompt", "answer", "completion", "label", "score", "kind", "tokens", "truncated")
"""Columns of a row that the bench reads; the others are the task's."""
_SHIPPED = Path(__file__).with_name("cases")


@dataclass(frozen=True, slots=True)
class Case:
    """One sample with what is expected of a reward. At most one of `label` and `stated` is set."""

    sample: Sample
    kind: str = _LABELLED
    """How it was made: `labelled` by a person, `gold`, `wrong`, the name of a variant or of an attack."""
    label: bool | None = None
    """Whether it has to pass. None: nothing is demanded, or `stated` says it."""
    stated: Score | None = None
    """The score it must get, to a millionth; a value of None means that the reward must say it cannot judge."""


@dataclass(frozen=True, slots=True)
class CaseSet:
    """What a reward is tried on."""

    cases: list[Case]
    tasks: list[PromptTask]
    """Tasks with an answer, from which more cases are derived."""


def read_cases(rows: Iterable[tuple[str, Any]], given: object) -> CaseSet:
    """Cases and tasks from rows as a file holds them.

    Args:
        rows: where each stands, in words for messages, and the row.
        given: name of their source, for messages.

    Raises:
        DataError: a row without a prompt, or with a completion and no expectation, or values of the wrong type.
    """
    cases, tasks = [], []
    for place, row in rows:
        fault = _fault(row)
        if fault:
            raise DataError(f"{place}: {fault}", given=given, hint='{"prompt": .., "completion": .., "label": true}')
        if row.get("completion") is None:
            tasks.append(PromptTask(row["prompt"], answer_of(row), _meta(row)))
        else:
            cases.append(_case(row))
    return CaseSet(cases, tasks)


def shipped(reward: str, params: Mapping[str, Any]) -> CaseSet | None:
    """The labelled cases that come with a built-in reward; None where it has none, or none for these arguments."""
    path = _SHIPPED / f"{reward}.jsonl"
    if reward not in shipped_names() or params not in ({}, shipped_params(reward)):
        return None
    return read_cases(((f"line {n} of {path.name}", row) for n, row in enumerate(read_jsonl(path), start=1)), path)


def shipped_params(reward: str) -> Mapping[str, Any]:
    """Arguments under which the shipped cases of a reward hold, where they need some that have no default."""
    return _PARAMS.get(reward, {})


def shipped_names() -> list[str]:
    """Rewards that come with cases."""
    return sorted(path.stem for path in _SHIPPED.glob("*.jsonl"))


_PARAMS: Mapping[str, Mapping[str, Any]] = {
    "budget": {"alpha": 0.01},
    "cosine": {"limit": 100},
    "length": {"budget": 40, "buffer": 20},
    "overlong": {"limit": 60, "cache": 20},
    "regex": {"pattern": r"(?i)\bthe answer is -?\d+\.$"},
}


def _fault(row: Any) -> str | None:
    """What is wrong with a row, as a phrase."""
    if not isinstance(row, Mapping):
        return "a row is an object"
    if not _is_prompt(row.get("prompt")):
        return "a row needs a prompt: text, or a list of messages"
    if row.get("completion") is None:
        named = [name for name in ("label", "score") if name in row]
        return f"{named[0]} is of a completion, and there is none" if named else None
    if not isinstance(row["completion"], str):
        return "a completion is text"
    if ("label" in row) == ("score" in row):
        return "a completion needs either a label or a score"
    return _value_fault(row)


def _is_prompt(value: Any) -> bool:
    if not isinstance(value, list):
        return isinstance(value, str)
    return bool(value) and all(
        isinstance(message, Mapping) and {"role", "content"} <= message.keys() and _is_content(message["content"])
        for message in value
    )


def _is_content(value: Any) -> bool:
    """Whether a message holds text, or parts of text and images as a record has them."""
    if not isinstance(value, list):
        return isinstance(value, str)
    kinds = {"text": "text", "image": "image"}
    return bool(value) and all(
        isinstance(part, Mapping) and isinstance(part.get(kinds.get(str(part.get("type")), "")), str) for part in value
    )


def _value_fault(row: Mapping[str, Any]) -> str | None:
    label, score, tokens = row.get("label"), row.get("score"), row.get("tokens")
    if "label" in row and not (isinstance(label, bool) or label in (0, 1)):
        return f"a label is true or false, and not {label!r}"
    is_number = isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    if score is not None and not is_number:
        return f"a score is a number or null, and not {score!r}"
    if tokens is not None and not (isinstance(tokens, int) and tokens >= 0):
        return f"tokens is a whole number, and not {tokens!r}"
    return None


def _case(row: Mapping[str, Any]) -> Case:
    sample = Sample(
        row["prompt"],
        row["completion"],
        answer_of(row),
        _meta(row),
        tokens=row.get("tokens"),
        truncated=bool(row.get("truncated", False)),
    )
    kind = str(row.get("kind") or _LABELLED)
    if "label" in row:
        return Case(sample, kind, label=bool(row["label"]))
    return Case(sample, kind, stated=Score(row["score"]))


def _meta(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _OWN}
