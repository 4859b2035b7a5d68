"""Rows of `items.jsonl`: the identity of an item, and the fields every metric writes for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import (
    PreferencePair,
    Prompt,
    Record,
    Sample,
    StepwiseSolution,
    fingerprint,
    hashed_prompt,
    task_of,
)
from rlllm.rollouts.environments.base import TRANSCRIPT, transcript_text


def task_id(prompt: Prompt, answer: str | None) -> str:
    """Identity of a problem across runs: a hash of its prompt (of an image, what it shows) and answer."""
    return fingerprint([hashed_prompt(prompt), answer])


def item_ids(record: Record) -> list[str]:
    """The ids that metrics give the items of a record: of its prompt, and of what is judged beside it, which is the last."""
    task = task_of(record)
    ids = [task_id(task.prompt, task.answer)]
    if isinstance(record, PreferencePair):
        ids.append(task_id(record.prompt, f"{record.chosen}\0{record.rejected}"))
    if isinstance(record, StepwiseSolution):
        truth = record.labels.index(False) if False in record.labels else len(record.labels)
        ids.append(task_id(record.prompt, "\n".join(record.steps) + f"\0{truth}"))
    return ids


def record_row(
    record: Record, scores: Sequence[float], completions: Sequence[str] = (), *, answer: str | None = None
) -> dict[str, Any]:
    """The item of a record whose texts stand in the data.

    Args:
        record: a row of the request.
        scores: finite numbers, at least one; their mean is the item's score.
        completions: the texts that were judged.
        answer: the reference shown beside them.
    """
    return {
        "id": item_ids(record)[-1],
        "scores": list(scores),
        "prompt": record.prompt,
        "answer": answer,
        "completions": list(completions),
    }


def sampled_row(samples: Sequence[Sample], scores: Sequence[float], **more: Any) -> dict[str, Any]:
    """The item of a problem that the model answered. Of rollouts in an environment the completions are their transcripts as
    text, and `transcripts` has the messages.

    Args:
        samples: its completions, at least one.
        scores: one finite number for each.
        more: further fields of the row, which may replace `answer`.
    """
    task = samples[0]
    return {
        "id": task_id(task.prompt, task.answer),
        "scores": list(scores),
        "prompt": task.prompt,
        "answer": task.answer,
        "completions": [_shown(sample) for sample in samples],
        **({"transcripts": [sample.meta[TRANSCRIPT] for sample in samples]} if TRANSCRIPT in task.meta else {}),
        **more,
    }


def _shown(sample: Sample) -> str:
    return transcript_text(sample.meta[TRANSCRIPT]) if TRANSCRIPT in sample.meta else sample.completion
