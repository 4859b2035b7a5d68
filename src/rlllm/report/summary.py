"""Summary table of a pipeline: one row for each number that a stage is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlllm.report.markup import Html, tag
from rlllm.report.tables import Head, IntervalJson, cell, change_cell, drawn_head, pair_cells, row, table
from rlllm.report.wording import duration


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One stage of a pipeline and a number it is judged by; a stage may have several rows, one after another."""

    stage: str
    measure: str
    """What the numbers are, e.g. "held-out pass@1"."""
    after: IntervalJson | None = None
    before: IntervalJson | None = None
    difference: IntervalJson | None = None
    """Paired difference after minus before, where there is one."""
    p: float | None = None
    seconds: float | None = None
    """Of the whole stage."""
    ok: bool = True
    """Whether no reason of the stage's verdict is fatal."""
    outcome: str = ""
    """What became of the stage's main measure, in the row of that measure."""


def summary_table(rows: Sequence[SummaryRow]) -> Html:
    """Stage, before, after, both drawn, change, time, outcome; becomes cards on a narrow screen."""
    interval_head, unit = drawn_head([(entry.before, entry.after) for entry in rows], paired=True)
    heads: list[Head] = [("Stage", ""), ("Before", "num"), ("After", "num"), interval_head, ("Change", "num")]
    heads += [("Time", "num"), ("Outcome", "")]
    again = [position > 0 and rows[position - 1].stage == entry.stage for position, entry in enumerate(rows)]
    return table(heads, [_summary_row(entry, same) for entry, same in zip(rows, again, strict=True)], unit=unit)


def total_seconds(rows: Sequence[SummaryRow]) -> float:
    """Time of all stages, each counted once."""
    return sum({entry.stage: entry.seconds or 0.0 for entry in rows}.values())


def _summary_row(entry: SummaryRow, same: bool) -> Html:
    words = (entry.outcome or "carried out") if entry.ok else f"✕ {entry.outcome or 'failed'}"
    outcome = tag("span", words, class_="ok" if entry.ok else "failed")
    cells = [*pair_cells(entry.before, entry.after), change_cell(entry.difference, entry.p)]
    cells.append(cell("Time", None if same else duration(entry.seconds), "num"))
    cells.append(cell("Outcome", None if same else outcome))
    return row(entry.stage, entry.measure, cells, repeated=same)
