"""Counts and lengths of the records of a data set, before a model is loaded. Nothing is changed.

Records are counted one at a time and not kept: memory holds one number for each prompt and a count for each length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rlllm.core.images import image_digest
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
    full_text,
    images_of,
    prompt_text,
)
from rlllm.data.inspect.chat_counts import ChatCounts
from rlllm.data.inspect.checks import Finding, ImbalanceCounts
from rlllm.data.inspect.image_counts import ImageCounts
from rlllm.data.inspect.templates import completion_mark, prompt_mark
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
    def of_counts(cls, counts: Mapping[int, int]) -> Lengths | None:
        """Quantiles of lengths that are given with how often each occurs; None when there are none."""
        total = sum(counts.values())
        if not total:
            return None
        ranks = [max(1, -(-percent * total // 100)) for percent in (0, 50, 90, 99, 100)]
        quantiles: list[int] = []
        count_so_far = 0
        for size in sorted(counts):
            count_so_far += counts[size]
            while len(quantiles) < len(ranks) and ranks[len(quantiles)] <= count_so_far:
                quantiles.append(size)
        return cls(*quantiles)

    def __str__(self) -> str:
        return f"{self.shortest:,} to {self.longest:,}, median {self.median:,}, p90 {self.p90:,}, p99 {self.p99:,}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Counts, lengths and findings of a data set."""

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
    parts: list[str] = field(default_factory=list)
    """Of a mixture, what was done with each of its data sets."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Label, or answer where there are few different ones, to its rows (steps, of stepwise solutions)."""
    scripts: Mapping[str, int] = field(default_factory=dict)
    """Script of the prompt to rows."""
    chats: list[str] = field(default_factory=list)
    """What messages hold beside text: turns that train, reasoning, tool calls."""
    images: list[str] = field(default_factory=list)
    """How many images prompts show, and their sizes."""
    findings: list[Finding] = field(default_factory=list)
    """Imbalances of labels, positions, lengths and scripts."""

    def lines(self) -> list[str]:
        """The report for a reader, one fact a line."""
        split, number, size = self.longest_row
        diagnostics = [
            self.source,
            f"prompt characters: {self.prompt_lengths}" if self.prompt_lengths else "",
            f"{_NOUNS.get(self.kind, 'completion')} characters: {self.completion_lengths}"
            if self.completion_lengths
            else "",
            f"longest row: number {number} of {split}, {size:,} characters",
            *self.chats,
            *self.images,
            *(finding.words for finding in self.all_findings()),
            "columns: " + ", ".join(f"{field}={column}" for field, column in self.columns.items())
            if self.columns
            else "",
            *self.parts,
        ]
        return [fact for fact in diagnostics if fact]

    def all_findings(self) -> list[Finding]:
        """All findings: repeated prompts, identical pairs, empty fields, imbalances."""
        counted = [
            Finding("duplicates", f"repeated prompts: {self.duplicate_prompts:,} of {self.train:,} training rows")
            if self.duplicate_prompts
            else None,
            Finding("identical", f"chosen equals rejected in {self.identical_pairs:,} pairs")
            if self.identical_pairs
            else None,
            *(Finding("empty", f"{name} is empty in {count:,} rows") for name, count in self.empty_fields.items()),
        ]
        return [*(finding for finding in counted if finding), *self.findings]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "findings": [asdict(finding) for finding in self.all_findings()]}


_NOUNS = {"PromptTask": "answer", "PreferencePair": "chosen and rejected", "StepwiseSolution": "step"}


def check(loaded: Loaded) -> CheckReport:
    """Count and measure every record of a data set, the held-out ones included (duplicates: training rows only)."""
    report = check_records({"train": loaded.train, "holdout": loaded.holdout}, loaded.source, loaded.columns)
    return replace(report, parts=[part.words() for part in loaded.parts])


def check_records(
    splits: Mapping[str, Iterable[Record]], source: str, columns: Mapping[str, str] | None = None
) -> CheckReport:
    """As `check`, of records that come one at a time, by split (`train`, `holdout`); at least one record in all."""
    counts = RecordCounts()
    for split, records in splits.items():
        for record in records:
            counts.add(record, split)
    return counts.report(source, columns or {})


class RecordCounts:
    """Running counts of a check."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._prompts: set[int] = set()
        self._prompt_lengths: Counter[int] = Counter()
        self._text_lengths: Counter[int] = Counter()
        self._empty: Counter[str] = Counter()
        self._identical = 0
        self._longest = ("train", 0, -1)
        self._imbalances = ImbalanceCounts()
        self._chats = ChatCounts()
        self._images = ImageCounts()
        self._prompt_marks: Counter[str] = Counter()
        self._completion_marks: Counter[str] = Counter()
        self._kind = ""

    def add(self, record: Record, split: str = "train") -> None:
        """Count one record."""
        prompt = prompt_text(record.prompt)
        texts = _texts(record)
        self._kind = type(record).__name__
        self._rows[split] += 1
        if split == "train":
            self._prompts.add(hash(split_key(record)))
        if record.prompt:
            self._prompt_lengths[len(prompt)] += 1
        size = len(prompt)
        for name, text in texts.items():
            size += len(text or "")
            if text is not None:
                self._text_lengths[len(text)] += 1
            if not (text or "").strip():
                self._empty[name] += 1
        self._identical += isinstance(record, PreferencePair) and record.identical
        if size > self._longest[2]:
            self._longest = (split, self._rows[split], size)
        self._imbalances.add(record, prompt)
        self._chats.add(record)
        self._images.add(record)
        for marks, mark in (
            (self._prompt_marks, prompt_mark(record)),
            (self._completion_marks, completion_mark(record)),
        ):
            marks.update([mark] if mark else [])

    def report(self, source: str, columns: Mapping[str, str]) -> CheckReport:
        """What has been counted so far."""
        return CheckReport(
            source=source,
            kind=self._kind,
            train=self._rows["train"],
            holdout=self._rows["holdout"],
            prompt_lengths=Lengths.of_counts(self._prompt_lengths),
            completion_lengths=Lengths.of_counts(self._text_lengths),
            duplicate_prompts=self._rows["train"] - len(self._prompts),
            identical_pairs=self._identical,
            empty_fields=dict(self._empty),
            longest_row=self._longest,
            columns=dict(columns),
            labels=self._imbalances.label_shares(),
            scripts=dict(self._imbalances.scripts.most_common()),
            chats=list(self._chats.facts()),
            images=list(self._images.facts()),
            findings=[*self._imbalances.findings(), *self._chats.findings(), *self._templates()],
        )

    def _templates(self) -> Iterator[Finding]:
        rows = self._rows.total()
        for noun, marks in (("prompts", self._prompt_marks), ("completions", self._completion_marks)):
            if marks:
                mark = marks.most_common(1)[0][0]
                yield Finding(
                    "template",
                    f"{noun} of {marks.total():,} of {rows:,} rows already hold a template ({mark}), and a chat model's own is "
                    "put around it: store messages, or texts without such marks",
                )


def record_text(record: Record) -> str:
    """All text of a record, its prompt first; blank lines between."""
    return "\n\n".join([prompt_text(record.prompt), *(text for text in _texts(record).values() if text)])


def prompt_words(record: Record) -> str:
    """The text of a record's prompt, or of its completion where there is no prompt; `apart` tells images apart."""
    continued = isinstance(record, Conversation) and not record.prompt
    return full_text(record.completion) if continued else prompt_text(record.prompt)  # type: ignore[union-attr]


def apart(records: Sequence[Record], *, labels: bool) -> list[str]:
    """What keeps each record apart from others with the same text: what its images hold and, with `labels`, its labels."""
    keys = [[*map(image_digest, images_of(record.prompt)), label_of(record) if labels else ""] for record in records]
    return [" ".join(filter(None, parts)) for parts in keys]


def label_of(record: Record) -> str:
    """The labels of a record as text; empty for types without labels."""
    if isinstance(record, LabelledCompletion):
        return str(record.label)
    return " ".join(map(str, record.labels)) if isinstance(record, StepwiseSolution) else ""


def _texts(record: Any) -> dict[str, str | None]:
    return _TEXT_FIELDS[type(record)](record)


_TEXT_FIELDS: dict[type, Callable[[Any], dict[str, str | None]]] = {
    PromptTask: lambda record: {"answer": record.answer},
    Conversation: lambda record: {"completion": full_text(record.completion)},
    LabelledCompletion: lambda record: {"completion": full_text(record.completion)},
    PreferencePair: lambda record: {"chosen": full_text(record.chosen), "rejected": full_text(record.rejected)},
    StepwiseSolution: lambda record: {f"step {number}": step for number, step in enumerate(record.steps, start=1)},
}
"""Record type to its text fields beside the prompt."""
