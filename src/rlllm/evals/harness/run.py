"""`lm-eval`: tasks of lm-evaluation-harness, asked by this project's engines.

The harness makes the prompts, reads the answers and computes its metrics; here the model answers, and the values get
intervals where a value is the mean of its items.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, describe
from rlllm.core.records import fingerprint
from rlllm.evals.harness.tasks import HARNESS, PREFIX, check_task, planned_task, task_file
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.statistics.intervals import Interval, mean_interval, score_bounds

METHOD = "harness"
"""`Interval.method` of a value that is no mean of items: the harness's number, without an interval."""


def _measure(request: EvalRequest) -> Evaluation:
    """Every metric and filter of a task, or of each task of a group.

    `params` are those of `harness.tasks.check_task`. An item's scores are its first metric under the first filter.

    Raises:
        ConfigError: the harness does not know the task, or cannot load it.
    """
    from lm_eval import evaluator

    from rlllm.evals.harness.model import EngineLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    tasks = load_tasks(request.params)
    model = EngineLM(*request.policy(), request.sampling)
    _seed(request.seed)
    results = evaluator.evaluate(
        model,
        tasks,
        limit=request.params.get("limit"),
        bootstrap_iters=0,
        system_instruction=request.params.get("system_prompt"),
        apply_chat_template=request.params["chat"],
        fewshot_as_multiturn=request.params["chat"],
    )
    return _as_evaluation(results, request.seed)


def load_tasks(params: Mapping[str, Any]) -> Any:
    """The tasks, as `lm_eval.tasks.TaskManager.load` gives them, with as many worked examples as are asked for.

    Raises:
        ConfigError: unknown, their data do not load, or they need what is not offered here.
    """
    try:
        loaded = _load(params)
    except Exception as error:  # whatever a task file or the data set behind it does
        raise ConfigError(
            f"lm-evaluation-harness cannot load the task: {describe(error)[:400]}",
            given=f"{PREFIX}{params['task']}",
            hint="list its tasks with: lm-eval ls tasks; your own are found through harness.include=[FOLDER]",
        ) from error
    for name, task in loaded["tasks"].items():
        _check_kind(name, task)
        _set_shots(task, params["shots"])
    return loaded


def _as_evaluation(results: Mapping[str, Any], seed: int) -> Evaluation:
    """The harness's results as values with intervals, and a row for each document."""
    samples, several = results["samples"], len(results["samples"]) > 1
    values: dict[str, Interval] = {}
    items = []
    for task, rows in samples.items():
        columns = _columns(rows)
        for (metric, name), column in columns.items():
            label = metric if name == "none" else f"{metric} ({name})"
            whole = results["results"][task].get(f"{metric},{name}")
            values[f"{task} {label}" if several else label] = _interval(column, whole, seed)
        items += _items(task, rows)
    return Evaluation(items, values, {"harness": {"versions": dict(results.get("versions") or {})}})


def _load(params: Mapping[str, Any]) -> Any:
    from lm_eval.tasks import TaskManager

    name, path = check_task(params), task_file(params["task"])
    folders = [str(Path(folder).expanduser()) for folder in params["include"]] + ([str(path.parent)] if path else [])
    if folders:  # reading the thousands of task files of the harness takes seconds
        own = TaskManager(include_path=folders, include_defaults=False)
        if name in own.all_tasks and name not in own.all_groups:
            return own.load([name])
    return TaskManager(include_path=folders or None).load([name])


def _check_kind(name: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise ConfigError(
            "the harness would run programs that the model wrote, outside of any sandbox",
            given=f"{PREFIX}{name}",
            hint="rlllm eval humaneval runs them in isolation, and --reward code those of your own data",
        )
    if getattr(task, "MULTIMODAL", False):
        raise ConfigError("the task shows images, and only text is offered here", given=f"{PREFIX}{name}")


def _set_shots(task: Any, shots: int | None) -> None:
    """As the harness's own command does: a task that says 0 keeps it."""
    from lm_eval.defaults import DEFAULT_OTHER_SEED

    own = task.get_config("num_fewshot")
    if own is None or (shots is not None and own != 0):
        task.set_config(key="num_fewshot", value=shots or 0)
    task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)


def _seed(seed: int) -> None:
    """The generators that tasks draw from get the harness's seeds, torch's gets the evaluation's."""
    import numpy as np
    import torch
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    torch.manual_seed(seed)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[float | None]]:
    """Values by metric and filter; None where an item has no number of that metric."""
    columns: dict[tuple[str, str], list[float | None]] = {}
    for row in rows:
        for metric in row["metrics"]:
            columns.setdefault((metric, row["filter"]), []).append(_number(row[metric]))
    return columns


def _interval(column: Sequence[float | None], whole: Any, seed: int) -> Interval:
    """The interval of a mean over items, or the harness's number where it is none."""
    numbers = [[value] for value in column if value is not None]
    mean = sum(value for (value,) in numbers) / len(numbers) if numbers else math.nan
    number = _number(whole)
    if len(numbers) == len(column) and (number is None or math.isclose(mean, number, rel_tol=1e-9, abs_tol=1e-12)):
        return mean_interval(numbers, seed, bounds=score_bounds(numbers))
    return Interval(math.nan if number is None else number, -math.inf, math.inf, len(column), METHOD)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _items(task: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for `items.jsonl`: one for each document, in the harness's order."""
    items: dict[Any, dict[str, Any]] = {}
    for row in rows:
        scores = [number for metric in row["metrics"] if (number := _number(row[metric])) is not None]
        if row["doc_id"] not in items and scores:
            items[row["doc_id"]] = {
                "id": fingerprint([task, row["doc_hash"]]),
                "scores": scores[:1],
                "prompt": row["arguments"][0][0],
                "answer": str(row["target"]),
                "completions": [_shown(row)],
            }
    return list(items.values())


def _shown(row: Mapping[str, Any]) -> str:
    """What the model wrote, or the continuation it finds likeliest."""
    replies = [responses[0] for responses in row["resps"]]
    if isinstance(replies[0], str):
        return replies[0]
    if not isinstance(replies[0], tuple | list):
        return ""
    best = max(range(len(replies)), key=lambda index: replies[index][0])
    return str(row["arguments"][best][1])


METRIC = Metric(
    name=HARNESS,
    summary="a task of lm-evaluation-harness, as lm-eval:NAME",
    measure=_measure,
    record=None,
    needs_model="policy",
    external=planned_task,
)
