"""`rlllm data check`: counts, imbalances, duplicates and contamination of data sets. Changes nothing.

Rows are read one at a time; memory does not grow with their texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rlllm.core.config import Section
from rlllm.core.errors import DataError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.inspect.checks import Finding
from rlllm.data.inspect.summary import CheckReport, RecordCounts, apart, prompt_words, record_text
from rlllm.data.load import PROCEDURAL_HOLDOUT, split_key
from rlllm.data.prepare.settings import ContaminationRules, NearDuplicates
from rlllm.data.sources import CallableSource, find
from rlllm.data.stream import stream
from rlllm.tools.data.record_types import record_kind

if TYPE_CHECKING:
    from rlllm.data.prepare.contamination import ContaminationReport
    from rlllm.data.prepare.near_duplicates import Duplicates

_SHOWN = 5


class DataCheck(Section):
    """Settings of `rlllm data check`."""

    sources: list[DataConfig] = Field(min_length=1)
    """Data sets to check, each separately."""
    kind: str | None = None
    """Verb, method or record type to read it as. Unset: the most specific type that fits."""
    near_duplicates: NearDuplicates = NearDuplicates()
    """Which rows repeat an earlier one."""
    contamination: ContaminationRules = ContaminationRules()
    """Evaluation sets to look for in the rows."""


@dataclass(frozen=True)
class Checked:
    """The report and findings of one data set."""

    report: CheckReport
    """Of the rows as they are read, before any are held out."""
    findings: list[Finding]
    """All findings, those of duplicates, contamination and skipped rows included."""
    hits: list[dict[str, Any]] = field(default_factory=list)
    """Some contaminated rows: `row` from 1, `rule`, `score`, `item`."""
    groups: list[list[int]] = field(default_factory=list)
    """The largest groups of duplicate rows, numbered from 1."""
    skipped: list[str] = field(default_factory=list)
    """Some rows that did not fit."""

    def to_json(self) -> dict[str, Any]:
        extra = {"hits": self.hits, "groups": self.groups, "skipped": self.skipped}
        return {
            **self.report.to_json(),
            "findings": [{"name": f.name, "words": f.words} for f in self.findings],
            **extra,
        }


def check_data(config: DataCheck, listener: ProgressCallback | None = None) -> list[Checked]:
    """Check every data set.

    Raises:
        DataError, ConfigError: one of them cannot be read.
    """
    return [_check(config, source, listener or NullProgress()) for source in config.sources]


def _check(config: DataCheck, source: DataConfig, listener: ProgressCallback) -> Checked:
    from rlllm.data.prepare.assembly import chunks
    from rlllm.data.prepare.contamination import Contamination, RowText
    from rlllm.data.prepare.near_duplicates import DuplicateFinder
    from rlllm.stages.evaluate.items import evaluation_items

    kind, bad, measures = record_kind(source, config.kind), BadRows(source.on_bad_row), RecordCounts()
    finder = DuplicateFinder(config.near_duplicates)
    against = config.contamination.against
    contamination = Contamination(evaluation_items(against), config.contamination) if against else None
    listener.phase(f"reading {source.name}")
    rows = 0
    for chunk in chunks(stream(source, kind, bad)):
        rows += len(chunk)
        for record in chunk:
            measures.add(record)
        texts = [record_text(record) for record in chunk]
        by_prompt = config.near_duplicates.over == "prompt"
        finder.add(list(map(prompt_words, chunk)) if by_prompt else texts, apart(chunk, labels=not by_prompt))
        if contamination:
            prompts = map(split_key, chunk)
            contamination.add([RowText(prompt, text) for prompt, text in zip(prompts, texts, strict=True)])
    if not rows and not source.mix and source.holdout is None and isinstance(find(source.name), CallableSource):
        return _check(config, source.model_copy(update={"holdout": PROCEDURAL_HOLDOUT}), listener)  # a test set
    if not rows:
        raise DataError("the data set has no rows", given=source.name)
    report = measures.report(f"{source.name}: {rows:,} rows", {})
    duplicates, hits = finder.find(), contamination.report() if contamination else None
    findings = [*report.all_findings(), *_repeated(duplicates), *_contaminated(hits, rows), *_skipped(bad)]
    return Checked(report, findings, _hits(hits), _groups(duplicates), bad.examples)


def _repeated(duplicates: Duplicates) -> Iterable[Finding]:
    for words, count in (("equal but for case and punctuation", duplicates.exact), ("nearly equal", duplicates.near)):
        if count:
            yield Finding("repeated rows", f"{count:,} rows repeat an earlier one, {words}")


def _contaminated(report: ContaminationReport | None, rows: int) -> Iterable[Finding]:
    if report and len(report.rows):
        rules = ", ".join(f"{count:,} by rule {rule}" for rule, count in report.by_rule().items())
        yield Finding("contamination", f"{len(report.rows):,} of {rows:,} rows hold evaluation prompts: {rules}")
        for name, (matched, total) in report.by_source().items():
            if matched:
                yield Finding("contamination", f"{matched:,} of {total:,} prompts of {name} are in the rows")


def _skipped(bad: BadRows) -> Iterable[Finding]:
    if words := bad.words():
        yield Finding("skipped", words)


def _hits(report: ContaminationReport | None) -> list[dict[str, Any]]:
    """Some hits of every rule."""
    hits_of_rule: Counter[str] = Counter()
    examples = []
    for hit in report.hits() if report else ():
        hits_of_rule[hit.rule] += 1
        if hits_of_rule[hit.rule] <= _SHOWN:
            item = {"source": hit.item.source, "row": hit.item.number, "prompt": hit.item.text}
            examples.append({"row": hit.row + 1, "rule": hit.rule, "score": round(hit.score, 3), "item": item})
    return examples


def _groups(duplicates: Duplicates) -> list[list[int]]:
    return [[row + 1 for row in group] for group in duplicates.groups(_SHOWN)]
