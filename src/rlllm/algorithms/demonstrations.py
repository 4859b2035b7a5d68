"""Mixed-policy groups: some completions of each group are reference solutions instead of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import PromptTask

T = TypeVar("T")


@dataclass(frozen=True)
class Traces:
    """The last `count` completions of each group are the reference trace (LUFFY: Yan et al. 2025, arXiv 2504.14945).

    Traces are scored like samples and enter their group's baseline. They are not sampled, so a group costs fewer tokens. The
    policy that wrote them is unknown: their ratio is taken against probability 1, and the surrogate `traces` shapes it.
    """

    count: int = 1
    """Traces a group."""
    column: str = "solution"
    """Column of the data that holds the trace."""
    presets: ClassVar[Mapping[str, str]] = {"surrogate": "traces"}
    """Components that go with it, unless others are chosen."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError("rollout.mix traces: count is at least 1", given=self.count)

    def check_tasks(self, tasks: Sequence[PromptTask]) -> None:
        """Raise ConfigError unless every task has a trace."""
        require_column("rollout.mix traces", "rollout.mix.column", self.column, tasks)

    def check_group(self, group_size: int) -> None:
        """Raise ConfigError unless something of a group is still sampled."""
        if self.count >= group_size:
            raise ConfigError(
                "rollout.mix traces: a group has at least one sampled completion",
                given=f"count={self.count}, rollout.group_size={group_size}",
                hint="a smaller count, or larger groups",
            )

    def places(self, rows: int, group_size: int) -> list[int]:
        """Which of the rows, in contiguous groups, are traces."""
        return [row for row in range(rows) if row % group_size >= group_size - self.count]

    def ids(self, task: PromptTask, tokenizer: Any, limit: int) -> list[int]:
        """Tokens of a task's trace with an end-of-sequence token, cut at `limit` tokens."""
        ids = tokenizer(reference(task, self.column), add_special_tokens=False)["input_ids"]
        return [*ids, tokenizer.eos_token_id][:limit]


def inserted(traces: Mapping[int, list[T]], sampled: Sequence[list[T]]) -> list[list[T]]:
    """Traces at their places, and what was sampled, in order, at the others."""
    rest = iter(sampled)
    return [traces[place] if place in traces else next(rest) for place in range(len(traces) + len(sampled))]


def require_column(who: str, setting: str, column: str, tasks: Sequence[PromptTask]) -> None:
    """Raise ConfigError unless every task has text in a column."""
    lacking = [index for index, task in enumerate(tasks) if not _text(task, column)]
    if lacking:
        known = sorted({name for task in tasks for name, value in task.meta.items() if isinstance(value, str)})
        raise ConfigError(
            f"{who} needs the column {column}, and {len(lacking)} of {len(tasks)} rows have no text in it",
            given=f"the first is row {lacking[0]}",
            exists=known,
            hint=f"name the column that holds a worked solution in {setting}",
        )


def reference(task: PromptTask, column: str) -> str:
    """A task's reference solution. Raises DataError if it has none."""
    text = _text(task, column)
    if not text:
        raise DataError(f"a row has no text in the column {column}", given=str(task.prompt)[:120], exists=task.meta)
    return text


def _text(task: PromptTask, column: str) -> str:
    value = task.meta.get(column)
    return value.strip() if isinstance(value, str) else ""
