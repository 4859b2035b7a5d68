"""Off-policy groups: some completions of each group are solutions of the data instead of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rlllm.algorithms.protocols import OffPolicy, Setup
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import PromptTask

T = TypeVar("T")


@dataclass(frozen=True)
class Demonstrations(OffPolicy):
    """The last `count` completions of each group are the row's solution (LUFFY: Yan et al. 2025, arXiv 2504.14945).

    They are scored like samples and enter their group's baseline. They are not sampled, so a group costs fewer tokens. The
    policy that wrote them is unknown: their importance ratio is taken against probability 1, and the loss `luffy` shapes it.
    """

    count: int = 1
    """Demonstrations a group."""
    column: str = "solution"
    """Column of the data that holds them."""
    goes_with = {"loss": "luffy"}  # noqa: RUF012

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError("off_policy demonstrations: count is at least 1", given=self.count)

    def check(self, setup: Setup) -> None:
        """Raise ConfigError unless every task has a demonstration and something of a group is still sampled."""
        require_column("off_policy demonstrations", "off_policy.column", self.column, setup.tasks)
        if self.count >= setup.group_size:
            raise ConfigError(
                "off_policy demonstrations: a group has at least one sampled completion",
                given=f"count={self.count}, rollout.group_size={setup.group_size}",
                hint="a smaller count, or larger groups",
            )

    def places(self, rows: int, group_size: int) -> list[int]:
        """Which of the rows, in contiguous groups, are demonstrations."""
        return [row for row in range(rows) if row % group_size >= group_size - self.count]

    def ids(self, task: PromptTask, tokenizer: Any, limit: int) -> list[int]:
        """Tokens of a task's demonstration with an end-of-sequence token, cut at `limit` tokens."""
        ids = tokenizer(reference(task, self.column), add_special_tokens=False)["input_ids"]
        return [*ids, tokenizer.eos_token_id][:limit]


def inserted(demonstrations: Mapping[int, list[T]], sampled: Sequence[list[T]]) -> list[list[T]]:
    """Demonstrations at their places, and what was sampled, in order, at the others."""
    rest = iter(sampled)
    size = len(demonstrations) + len(sampled)
    return [demonstrations[place] if place in demonstrations else next(rest) for place in range(size)]


def require_column(who: str, setting: str, column: str, tasks: Sequence[PromptTask]) -> None:
    """Raise ConfigError unless every task has text in a column."""
    lacking = [index for index, task in enumerate(tasks) if not _text(task, column)]
    if lacking:
        columns = sorted({name for task in tasks for name, value in task.meta.items() if isinstance(value, str)})
        raise ConfigError(
            f"{who} needs the column {column}, and {len(lacking)} of {len(tasks)} rows have no text in it",
            given=f"the first is row {lacking[0]}",
            exists=columns,
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
