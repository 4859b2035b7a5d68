"""The `gym` reward: reasoning-gym's own scorer of the row's task."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from rlllm.core.errors import describe
from rlllm.core.records import Sample, Score
from rlllm.parsing.answers import extract_answer


@dataclass(frozen=True)
class Gym:
    """reasoning-gym's own scorer of the row's task, from 0 to 1; None for rows of other tasks.

    Reads `gym_task`, `gym_params` and `gym_entry` of the row. Without a marked answer the whole completion is taken for
    the answer. Where the scorer raises on an answer but reads its own reference, the answer is worth 0.0 and noted.
    """

    verifies = True

    def __call__(self, sample: Sample) -> Score:
        if "gym_task" not in sample.meta or "gym_entry" not in sample.meta:
            return Score(None, note="the row is not from reasoning-gym")
        entry = sample.meta["gym_entry"]
        score = _scorer(sample.meta["gym_task"], json.dumps(sample.meta.get("gym_params", {})))
        answer = extract_answer(sample.completion) or sample.completion.strip()
        try:
            return Score(score(answer, entry), parsed=answer)
        except Exception as error:
            score(entry["answer"], entry)
            return Score(0.0, parsed=answer, note=f"unreadable answer: {describe(error)}"[:200])


@cache
def _scorer(task: str, params: str) -> Callable[[str, Mapping[str, Any]], float]:
    """The scorer of a task under its parameters (JSON text), kept from writing to standard output."""
    import reasoning_gym

    def score(answer: str, entry: Mapping[str, Any]) -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            return float(dataset.score_answer(answer, entry))

    with contextlib.redirect_stdout(io.StringIO()):
        dataset = reasoning_gym.create_dataset(task, seed=0, **json.loads(params))
    return score
