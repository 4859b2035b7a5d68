"""Rows of a comparison: for each task the runs with their change against the first, pass@k, and problems gained and lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.report.markup import Html, join, tag
from rlllm.report.overlay import pass_at_k
from rlllm.report.problems import Row, problem_map
from rlllm.report.results import further, size
from rlllm.report.series import Series
from rlllm.report.tables import (
    Head,
    IntervalJson,
    cell,
    change_cell,
    drawn_head,
    estimate,
    row,
    signed_estimate,
    single_cells,
    table,
)
from rlllm.report.wording import DASH, count, crossover, fixed, is_number

Comparisons = Mapping[str, Mapping[str, Any]]
"""Letter of a run -> its comparison with the first run, as `rlllm compare --json` gives it."""
Pairs = Mapping[str, Mapping[str, Sequence[Row]]]
"""Letter of a run -> task -> problems that it shares with the first run, with both runs' completions."""


def evaluated_tasks(series: Sequence[Series], comparisons: Comparisons, pairs: Pairs) -> list[tuple[str, Html]]:
    """(task, its table and drawings) for every task that any of the runs was evaluated on."""
    names = dict.fromkeys(name for member in series for name in member.run.results.get("tasks") or {})
    return [(name, _task(name, series, comparisons, pairs)) for name in names]


def problem_maps(series: Sequence[Series], pairs: Pairs, task: str) -> list[Html]:
    """One drawing for each run against the first."""
    figures = [
        problem_map(
            pairs[member.letter][task], series[0].letter, member.letter, f"{member.letter} against {series[0].letter}"
        )
        for member in series[1:]
        if task in pairs.get(member.letter, {})
    ]
    return [figure for figure in figures if figure]


def _task(name: str, series: Sequence[Series], comparisons: Comparisons, pairs: Pairs) -> Html:
    measured = [
        (member, details) for member in series if (details := (member.run.results.get("tasks") or {}).get(name))
    ]
    curve = pass_at_k(name, [(member.letter, member.kind, details.get("curve") or []) for member, details in measured])
    figures = [*([curve] if curve else []), *problem_maps(series, pairs, name)]
    return join(
        [
            comparison_table(name, measured, comparisons),
            tag("div", figures, class_="curves") if figures else None,
            _all_measures(measured),
        ]
    )


def comparison_table(
    name: str, measured: Sequence[tuple[Series, Mapping[str, Any]]], comparisons: Comparisons
) -> Html | None:
    """What was compared: the mean score of each run, and how it differs from that of the first run, problem by problem."""
    by_letter = {member.letter: _comparison_of(comparisons, member.letter, name) for member, _ in measured}
    compared = [comparison for comparison in by_letter.values() if comparison]
    if not compared:
        return None
    values: dict[str, IntervalJson] = {
        letter: comparison["after"] for letter, comparison in by_letter.items() if comparison
    }
    values = {measured[0][0].letter: compared[0]["before"], **values}
    interval_head, unit = drawn_head([(None, value) for value in values.values()], paired=False)
    shown = [column for column in _COLUMNS if any(column[1](comparison) is not None for comparison in compared)]
    heads: list[Head] = [("Run", ""), ("Mean score", "num"), interval_head, ("Change", "num")]
    heads += [(title, "num") for title, _ in shown]
    body = []
    for member, _ in measured:
        if member.letter in values:
            cells = single_cells(values[member.letter], list(values.values()), "Mean score")
            body.append(row(member.label(), "", [*cells, *_comparison_cells(by_letter[member.letter], shown)]))
    note = tag(
        "p", f"Of the {count(compared[0]['items'], 'problem')} that both have; differences are paired.", class_="note"
    )
    return join([table(heads, body, unit=unit), note])


_COLUMNS = (
    ("Gained", lambda comparison: str(len(comparison["gained"]))),
    ("Lost", lambda comparison: str(len(comparison["lost"]))),
    (
        "At like length",
        lambda comparison: _at_like_length(comparison.get("length_controlled")),
    ),
    ("Crossover k", lambda comparison: crossover(comparison.get("crossover_k"))),
    ("Smallest detectable", lambda comparison: _smallest(comparison.get("minimum_detectable_effect"))),
)
"""Title, and what a comparison has to say under it; None where it says nothing."""


def _comparison_cells(comparison: Mapping[str, Any] | None, columns: Sequence[tuple[str, Any]]) -> list[Html]:
    if comparison is None:
        return [cell("Change", None), *(cell(title, None) for title, _ in columns)]
    holm = comparison.get("p_holm")
    p = holm if is_number(holm) else comparison["difference"].get("p_value")
    return [
        change_cell(comparison["difference"], p),
        *(cell(title, says(comparison) or DASH, "num") for title, says in columns),
    ]


def _comparison_of(comparisons: Comparisons, letter: str, task: str) -> Mapping[str, Any] | None:
    return next(
        (comparison for comparison in comparisons.get(letter, {}).get("tasks") or [] if comparison["task"] == task),
        None,
    )


def _all_measures(measured: Sequence[tuple[Series, Mapping[str, Any]]]) -> Html | None:
    """Every measure of the task, a column for each run."""
    measures = [
        (member, details, {**(details.get("values") or {}), **further(details)}) for member, details in measured
    ]
    names = dict.fromkeys(name for *_, values in measures for name in values)
    if not names:
        return None
    heads: list[Head] = [("Measure", ""), *((member.label(), "num") for member, *_ in measures)]
    rows = [
        row(name, "", [cell(member.title, estimate(values.get(name)), "num") for member, _, values in measures])
        for name in names
    ]
    sizes = "; ".join(f"{member.letter}: {size(details)}" for member, details, _ in measures)
    return join([table(heads, rows, unit=False), tag("p", sizes, class_="note")])


def _at_like_length(difference: IntervalJson | None) -> list[Html] | None:
    return signed_estimate(difference) if difference else None


def _smallest(effect: object) -> str | None:
    return fixed(effect, 3) if is_number(effect) else None
