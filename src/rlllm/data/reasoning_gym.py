"""The dataset `gym`: any reasoning-gym task as `gym:TASK` (`gym:chain_sum`); `data.params` are fields of the task's config.

Training and held-out rows use disjoint ranges of seeds. Many tasks are so small that another seed repeats a question.
Therefore a hash of the question's text decides its split: one question in four is held out. No held-out question is ever
trained on, whatever the seeds, rows or parameters of the runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rlllm.core.errors import ConfigError, DataError, describe, unknown
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Record
from rlllm.data.request import DataRequest

_BLOCK = 500
"""Rows drawn from one seed: reasoning-gym's own default. Some tasks give other rows when asked for another size."""
_SEED_RANGE = 2**30
_HOLDOUT_SHARE = 0.25
_PATIENCE = 200
"""Questions of the wrong side in a row after which a task is taken to have none for this side."""
_RIVALS = 64
"""Answers of other rows that are tried as the wrong answer of a pair."""
_FEWEST_ENTRIES = 9
"""Least number of entries drawn for pairs, so that there are answers of other entries."""
_COMPOSITE: list[dict[str, Any]] = [
    {"name": name, "weight": 1.0, "config": {}} for name in ("chain_sum", "leg_counting", "letter_counting")
]
"""Default of `data.params.datasets` for `gym:composite`."""


def gym(request: DataRequest) -> list[Record]:
    """Rows of one reasoning-gym task.

    `meta` carries what reasoning-gym's scorer needs: `gym_task` (the name), `gym_params` (its config) and `gym_entry`
    (reasoning-gym's own row, unchanged). A row of `composite` carries the task it was drawn from.

    Raises:
        ConfigError: unknown task, parameters the task does not take, or a level (a gym task has none).
        DataError: the task has too few questions, or no reference answers where the record type needs them.
    """
    build = _BUILDERS.get(request.kind)
    if build is None:
        raise DataError(
            f"reasoning-gym cannot make {request.kind.__name__} rows", exists=[k.__name__ for k in _BUILDERS]
        )
    if request.level is not None:
        raise ConfigError("reasoning-gym tasks have no levels", given=f"level={request.level}", hint="use data.params")
    params = dict(request.params)
    task = _Task.named(params.pop("task", None), params)
    # Several tasks print while they generate; stdout belongs to the user's data.
    with contextlib.redirect_stdout(io.StringIO()):
        return build(task, request)


gym.rewards = ("gym",)  # type: ignore[attr-defined]
gym.argument = "task"  # type: ignore[attr-defined]


def task_names() -> list[str]:
    """Names of all reasoning-gym tasks. Imports reasoning-gym (about a second)."""
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS)


@dataclasses.dataclass(frozen=True, slots=True)
class _Task:
    """A task with its parameters: makes entries, and scores answers to them."""

    name: str
    params: Mapping[str, Any]

    @classmethod
    def named(cls, name: Any, params: Mapping[str, Any]) -> _Task:
        names = task_names()
        if not name:
            raise ConfigError("gym needs the name of a task", given="gym", exists=names, hint="write gym:chain_sum")
        if name not in names:
            raise unknown("reasoning-gym task", str(name), names)
        task = cls(name, {"datasets": _COMPOSITE} if name == "composite" and not params else params)
        task.check()
        return task

    def check(self) -> None:
        """Refuse parameters that the task's config has no field for."""
        from reasoning_gym.factory import DATASETS

        fields = {field.name for field in dataclasses.fields(DATASETS[self.name][1])} - {"seed", "size"}
        for key in self.params:
            if key not in fields:
                raise unknown(f"parameter of gym:{self.name}", key, fields)

    def block(self, seed: int) -> Any:
        """`_BLOCK` rows of the task under one seed."""
        import reasoning_gym
        from reasoning_gym.composite import DatasetSpec

        params = dict(self.params)
        if self.name == "composite":
            params["datasets"] = [DatasetSpec(**spec) for spec in params["datasets"]]
        return reasoning_gym.create_dataset(self.name, seed=seed, size=_BLOCK, **params)

    def stream(self, split: str, seed: int) -> Iterator[tuple[Any, dict[str, Any]]]:
        """(dataset, entry) of this split, endless unless the task has none for it."""
        start = random.Random(f"{self.name} {seed}").randrange(_SEED_RANGE // _BLOCK) * _BLOCK
        base = _SEED_RANGE if split == "holdout" else 0
        strangers = 0
        while True:
            dataset = self.block(base + start % _SEED_RANGE)
            for index in range(_BLOCK):
                entry = dataset[index]
                if _side(entry["question"]) == split:
                    strangers = 0
                    yield dataset, entry
                    continue
                strangers += 1
                if strangers >= _PATIENCE:
                    return
            start += _BLOCK

    def take(self, request: DataRequest, extra: int = 0) -> list[tuple[Any, dict[str, Any]]]:
        """`request.rows` rows, and `extra` more to draw wrong answers from."""
        count = request.rows + extra
        rows = []
        try:
            for pair in self.stream(request.split, request.seed):
                rows.append(pair)
                if len(rows) == count:
                    return rows
        except Exception as error:
            raise ConfigError(
                f"gym:{self.name} cannot make rows: {describe(error)}",
                given=f"data.params={dict(self.params)}",
                hint=f"the config of reasoning-gym's {self.name} says which values fit",
            ) from error
        raise DataError(
            f"gym:{self.name} has too few questions for a {request.split} split: {len(rows)} of {count}",
            hint="set data.holdout=0" if request.split == "holdout" else "lower data.rows, or widen data.params",
        )

    def meta(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        name, params = self.name, self.params
        for part in self.params.get("datasets", []) if name == "composite" else []:
            if part["name"] == entry["metadata"]["source_dataset"]:
                name, params = part["name"], part["config"]
        return {"gym_task": name, "gym_params": dict(params), "gym_entry": dict(entry)}

    def reference(self, entry: Mapping[str, Any]) -> str:
        if entry["answer"] is None:
            raise DataError(
                f"gym:{self.name} has no reference answers, only a scorer",
                hint="use it where completions are scored: rlllm reason, rlllm eval",
            )
        return _mark(str(entry["answer"]))


def _side(question: str) -> str:
    digest = hashlib.sha256(question.encode()).digest()
    return "holdout" if digest[0] < 256 * _HOLDOUT_SHARE else "train"


def _mark(answer: str) -> str:
    """The answer behind the mark that fits it; `####` reaches to the end of its line only."""
    return f"<answer>{answer}</answer>" if "\n" in answer else f"#### {answer}"


def _tasks(task: _Task, request: DataRequest) -> list[Record]:
    return [
        PromptTask(entry["question"], None if entry["answer"] is None else str(entry["answer"]), task.meta(entry))
        for _, entry in task.take(request)
    ]


def _conversations(task: _Task, request: DataRequest) -> list[Record]:
    return [Conversation(entry["question"], task.reference(entry), task.meta(entry)) for _, entry in task.take(request)]


def _pairs(task: _Task, request: DataRequest) -> list[Record]:
    """The reference answer against the answer of another row that the task's scorer finds worse."""
    rows = task.take(request, extra=max(0, _FEWEST_ENTRIES - request.rows))
    pairs: list[Record] = []
    for index, (dataset, entry) in enumerate(rows[: request.rows]):
        rivals = [other for _, other in [*rows[index + 1 :], *rows[:index]][:_RIVALS]]
        reference = task.reference(entry)
        rejected = _worse(task, dataset, entry, rivals)
        pairs.append(PreferencePair(entry["question"], reference, rejected, meta=task.meta(entry)))
    return pairs


def _worse(task: _Task, dataset: Any, entry: dict[str, Any], rivals: list[dict[str, Any]]) -> str:
    best = dataset.score_answer(str(entry["answer"]), entry)
    for rival in rivals:
        if rival["answer"] is not None and dataset.score_answer(str(rival["answer"]), entry) < best:
            return task.reference(rival)
    raise DataError(
        f"gym:{task.name} gives no wrong answers to pair with: the answers of other rows score as well",
        hint="use a task whose answers differ from row to row",
    )


_BUILDERS: dict[type, Callable[[_Task, DataRequest], list[Record]]] = {
    PromptTask: _tasks,
    Conversation: _conversations,
    PreferencePair: _pairs,
}
