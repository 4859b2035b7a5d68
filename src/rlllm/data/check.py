"""A look at the data before a model loads: sizes, duplicates, pairs that teach nothing. Counts; changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
    prompt_text,
)
from rlllm.data.load import Loaded, split_key


@dataclass(frozen=True, slots=True)
class Lengths:
    """Quantiles of text lengths, in characters (nearest rank)."""

    shortest: int
    median: int
    p90: int
    p99: int
    longest: int

    @classmethod
    def of(cls, texts: Iterable[str]) -> Lengths | None:
        """Quantiles of these texts' lengths; None when there are none."""
        sizes = sorted(map(len, texts))
        if not sizes:
            return None
        at = [sizes[max(0, -(-percent * len(sizes) // 100) - 1)] for percent in (0, 50, 90, 99, 100)]
        return cls(*at)

    def __str__(self) -> str:
        return f"{self.shortest:,} to {self.longest:,}, median {self.median:,}, p90 {self.p90:,}, p99 {self.p99:,}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a data set holds."""

    source: str
    kind: str
    """Name of the record type."""
    train: int
    holdout: int
    prompt_lengths: Lengths | None
    completion_lengths: Lengths | None
    """Over every completion (both of a pair); of PromptTask rows, over their answers."""
    duplicate_prompts: int
    """Training rows whose prompt has stood in an earlier row."""
    identical_pairs: int
    """Preference pairs whose two completions are the same text."""
    empty_fields: dict[str, int]
    """Rows whose field is blank or absent, by field; only fields where that occurs."""
    longest_row: tuple[str, int, int]
    """Split, row number in it (from 1) and characters of the row with the most text."""
    columns: dict[str, str]

    def lines(self) -> list[str]:
        """The report for a reader, one fact a line."""
        split, number, size = self.longest_row
        facts = [
            self.source,
            f"prompt characters: {self.prompt_lengths}" if self.prompt_lengths else "",
            f"{_NOUNS.get(self.kind, 'completion')} characters: {self.completion_lengths}"
            if self.completion_lengths
            else "",
            f"longest row: number {number} of {split}, {size:,} characters",
            f"repeated prompts: {self.duplicate_prompts:,} of {self.train:,} training rows"
            if self.duplicate_prompts
            else "",
            f"chosen equals rejected in {self.identical_pairs:,} pairs" if self.identical_pairs else "",
            *(f"{field} is empty in {count:,} rows" for field, count in self.empty_fields.items()),
            "columns: " + ", ".join(f"{field}={column}" for field, column in self.columns.items())
            if self.columns
            else "",
        ]
        return [fact for fact in facts if fact]


_NOUNS = {"PromptTask": "answer", "PreferencePair": "chosen and rejected", "StepwiseSolution": "step"}


def check(loaded: Loaded) -> CheckReport:
    """Count and measure every record of a data set, the held-out ones included (duplicates: training rows only)."""
    records = [*loaded.train, *loaded.holdout]
    texts = [_texts(record) for record in records]
    longest = max(range(len(records)), key=lambda index: sum(map(len, _all_text(records[index]))))
    train = len(loaded.train)
    return CheckReport(
        source=loaded.source,
        kind=type(records[0]).__name__,
        train=train,
        holdout=len(loaded.holdout),
        prompt_lengths=Lengths.of(prompt_text(record.prompt) for record in records if record.prompt),
        completion_lengths=Lengths.of(text for fields in texts for text in fields.values() if text is not None),
        duplicate_prompts=train - len({split_key(record) for record in loaded.train}),
        identical_pairs=sum(isinstance(r, PreferencePair) and r.chosen == r.rejected for r in records),
        empty_fields=dict(Counter(key for fields in texts for key, text in fields.items() if not (text or "").strip())),
        longest_row=_place(longest, train, sum(map(len, _all_text(records[longest])))),
        columns=dict(loaded.columns),
    )


def _place(index: int, train: int, size: int) -> tuple[str, int, int]:
    return ("train", index + 1, size) if index < train else ("holdout", index - train + 1, size)


def _all_text(record: Record) -> Sequence[str]:
    return [prompt_text(record.prompt), *(text or "" for text in _texts(record).values())]


def _texts(record: Any) -> dict[str, str | None]:
    return _TEXT_FIELDS[type(record)](record)


_TEXT_FIELDS: dict[type, Callable[[Any], dict[str, str | None]]] = {
    PromptTask: lambda record: {"answer": record.answer},
    Conversation: lambda record: {"completion": record.completion},
    LabelledCompletion: lambda record: {"completion": record.completion},
    PreferencePair: lambda record: {"chosen": record.chosen, "rejected": record.rejected},
    StepwiseSolution: lambda record: {f"step {number}": step for number, step in enumerate(record.steps, start=1)},
}
"""Record type to its text fields beside the prompt."""
