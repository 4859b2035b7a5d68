"""Evaluations side by side: of each task the runs with their change against the first, pass@k, and problems gained and lost."""

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
    names = dict.fromkeys(name for one in series for name in one.run.results.get("tasks") or {})
    return [(name, _task(name, series, comparisons, pairs)) for name in names]


def problem_maps(series: Sequence[Series], pairs: Pairs, task: str) -> list[Html]:
    """One drawing for each run against the first."""
    drawn = [
        problem_map(pairs[one.letter][task], series[0].letter, one.letter, f"{one.letter} against {series[0].letter}")
        for one in series[1:]
        if task in pairs.get(one.letter, {})
    ]
    return [figure for figure in drawn if figure]


def _task(name: str, series: Sequence[Series], comparisons: Comparisons, pairs: Pairs) -> Html:
    measured = [(one, details) for one in series if (details := (one.run.results.get("tasks") or {}).get(name))]
    curve = pass_at_k(name, [(one.letter, one.kind, details.get("curve") or []) for one, details in measured])
    figures = [*([curve] if curve else []), *problem_maps(series, pairs, name)]
    return join(
        [
            _comparison_table(name, measured, comparisons),
            tag("div", figures, class_="curves") if figures else None,
            _all_measures(measured),
        ]
    )


def _comparison_table(
    name: str, measured: Sequence[tuple[Series, Mapping[str, Any]]], comparisons: Comparisons
) -> Html | None:
    """What was compared: the mean score of each run, and how it differs from that of the first run, problem by problem."""
    found = {one.letter: _comparison_of(comparisons, one.letter, name) for one, _ in measured}
    known = [comparison for comparison in found.values() if comparison]
    if not known:
        return None
    values: dict[str, IntervalJson] = {
        letter: comparison["after"] for letter, comparison in found.items() if comparison
    }
    values = {measured[0][0].letter: known[0]["before"], **values}
    drawn, unit = drawn_head([(None, value) for value in values.values()], paired=False)
    shown = [column for column in _COLUMNS if any(column[1](comparison) is not None for comparison in known)]
    heads: list[Head] = [("Run", ""), ("Mean score", "num"), drawn, ("Change", "num")]
    heads += [(title, "num") for title, _ in shown]
    body = []
    for one, _ in measured:
        if one.letter in values:
            cells = single_cells(values[one.letter], list(values.values()), "Mean score")
            body.append(row(one.label(), "", [*cells, *_comparison_cells(found[one.letter], shown)]))
    note = tag(
        "p", f"Of the {count(known[0]['items'], 'problem')} that both have; differences are paired.", class_="note"
    )
    return join([table(heads, body, unit=unit), note])


_COLUMNS = (
    ("Gained", lambda found: str(len(found["gained"]))),
    ("Lost", lambda found: str(len(found["lost"]))),
    (
        "At like length",
        lambda found: signed_estimate(found["length_controlled"]) if found.get("length_controlled") else None,
    ),
    ("Crossover k", lambda found: crossover(found.get("crossover_k"))),
    ("Smallest detectable", lambda found: _smallest(found.get("minimum_detectable_effect"))),
)
"""Title, and what a comparison has to say under it; None where it says nothing."""


def _comparison_cells(found: Mapping[str, Any] | None, columns: Sequence[tuple[str, Any]]) -> list[Html]:
    if found is None:
        return [cell("Change", None), *(cell(title, None) for title, _ in columns)]
    holm = found.get("p_holm")
    p = holm if is_number(holm) else found["difference"].get("p_value")
    return [change_cell(found["difference"], p), *(cell(title, says(found) or DASH, "num") for title, says in columns)]


def _comparison_of(comparisons: Comparisons, letter: str, task: str) -> Mapping[str, Any] | None:
    return next((found for found in comparisons.get(letter, {}).get("tasks") or [] if found["task"] == task), None)


def _all_measures(measured: Sequence[tuple[Series, Mapping[str, Any]]]) -> Html | None:
    """Every measure of the task, a column for each run."""
    found = [(one, details, {**(details.get("values") or {}), **further(details)}) for one, details in measured]
    names = dict.fromkeys(name for *_, values in found for name in values)
    if not names:
        return None
    heads: list[Head] = [("Measure", ""), *((one.label(), "num") for one, *_ in found)]
    rows = [
        row(name, "", [cell(one.title, estimate(values.get(name)), "num") for one, _, values in found])
        for name in names
    ]
    sizes = "; ".join(f"{one.letter}: {size(details)}" for one, details, _ in found)
    return join([table(heads, rows, unit=False), tag("p", sizes, class_="note")])


def _smallest(found: object) -> str | None:
    return fixed(found, 3) if is_number(found) else None
