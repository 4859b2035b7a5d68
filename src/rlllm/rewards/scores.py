"""What the rewards of a composition return for a batch of samples, with the errors among it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlllm.core.records import Score


@dataclass(frozen=True, slots=True)
class Issue:
    """One error of one reward on one sample of a batch."""

    reward: str
    index: int
    message: str
    seconds: float | None = field(default=None, compare=False)
    """How long the call took, where it was timed."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a batch of samples. Outer lists run over rewards, inner ones over samples."""

    names: list[str]
    values: list[list[float | None]]
    """None where the reward could not judge, or failed."""
    details: list[list[Score | None]]
    """What each reward read and noted; None where it failed."""
    errors: list[Issue]
    totals: list[float | None]
    """Weighted sum per sample; None where no weighted reward could judge it, or one of them failed."""

    def describe(self, index: int) -> dict[str, dict[str, Any]]:
        """Every reward's value for one sample with what it read, noted or raised; a row of `samples.jsonl`."""
        messages = {issue.reward: issue.message for issue in self.errors if issue.index == index}
        rows = {}
        for name, column, details in zip(self.names, self.values, self.details, strict=True):
            score = details[index]
            row: dict[str, Any] = {
                "value": column[index],
                "parsed": score and score.parsed,
                "note": score and score.note,
            }
            fields = {**row, "error": messages.get(name)}
            rows[name] = {key: value for key, value in fields.items() if value is not None}
            rows[name].setdefault("value", None)
        return rows
