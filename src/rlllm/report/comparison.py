"""The page of several runs: what they measured side by side, problem by problem, their curves, costs and settings.

Statistics are not made here: comparisons come in as `rlllm compare --json` gives them. Every part is left out when no run
has a file for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.core.runs import Run
from rlllm.report.comparison_rows import Comparisons, Pairs, comparison_table, evaluated_tasks, problem_maps
from rlllm.report.completions import Sides, before_after
from rlllm.report.costs import costs_table
from rlllm.report.differences import differences, used_differences
from rlllm.report.layout import Part, page, reproduce, section
from rlllm.report.markup import Html, join, tag
from rlllm.report.overlay import shared_curves
from rlllm.report.problems import HELD_OUT, MAP_NOTE, paired_rows
from rlllm.report.provenance import command_of
from rlllm.report.rewards import compared_rewards
from rlllm.report.series import Series, legend, series_of
from rlllm.report.tables import Head, change_cell, drawn_head, pair_cells, row, table
from rlllm.report.used_settings import Used, used_settings

_HOLM = "p-values are adjusted by Holm's method over all tasks and runs of this page."


def render_comparison(
    title: str,
    runs: Sequence[Run],
    comparisons: Sequence[Mapping[str, Any]] = (),
    sentences: Sequence[str] = (),
    commands: Sequence[str] = (),
) -> str:
    """The report of several runs against the first of them, as the text of an HTML file.

    Args:
        title: heading of the page.
        runs: two to `series.MAX_RUNS` runs; the first is the one the others are compared with.
        comparisons: comparisons of evaluations with the first run; `b` is the path of the other one.
        sentences: shown at the top of the page.
        commands: what to type to get this page again; each run's own command follows.
    """
    series = series_of(runs)
    by_letter = {
        member.letter: comparison
        for member in series[1:]
        for comparison in comparisons
        if comparison["b"] == str(member.run.path)
    }
    pairs = {member.letter: paired_rows(runs[0], member.run) for member in series[1:]}
    parts = [part for part in _parts(series, by_letter, pairs, commands) if part[2]]
    header = tag(
        "header",
        tag("p", "rlllm comparison", class_="eyebrow"),
        tag("h1", title),
        tag("ul", [tag("li", text) for text in sentences], class_="said") if sentences else None,
        legend(series),
        class_="page",
    )
    return page(f"{title} · rlllm", header, parts, [section(2, *part) for part in parts])


def _parts(series: Sequence[Series], comparisons: Comparisons, pairs: Pairs, commands: Sequence[str]) -> list[Part]:
    tasks = evaluated_tasks(series, comparisons, pairs)
    lines = [*commands, *filter(None, (command_of(member.run.read_or_empty("config.json")) for member in series))]
    used = [used_settings(member.run) for member in series]
    lineage = [member.run.read_or_empty("lineage.json") for member in series]
    envs = [member.run.read_or_empty("env.json") for member in series]
    return [
        ("results", "Evaluations", _tasks(tasks, comparisons)),
        ("measures", "Before and after training", _measures(series, pairs, comparisons)),
        ("curves", "Learning curves", _curves(series)),
        ("rewards", "Rewards by source", compared_rewards(series)),
        ("costs", "Costs", costs_table(series, envs)),
        ("completions", "Completions side by side", _completions(series, pairs)),
        (
            "settings",
            "Settings that differ",
            used_differences(series, used) if _any_settings(used) else None,
        ),
        ("lineage", "Lineage", differences(series, lineage, "entry") if any(lineage) else None),
        ("again", "Run it again", reproduce(lines) if lines else None),
    ]


def _any_settings(used: Sequence[Used]) -> bool:
    return any(member["settings"] for member in used)


def _tasks(tasks: Sequence[tuple[str, Html]], comparisons: Comparisons) -> Html | None:
    if not tasks:
        return None
    adjusted = any("p_holm" in task for comparison in comparisons.values() for task in comparison.get("tasks") or [])
    sections = [tag("section", tag("h3", name), content, class_="task") for name, content in tasks]
    return join([*sections, [tag("p", words, class_="note") for words in (MAP_NOTE, _HOLM)] if adjusted else None])


def _measures(series: Sequence[Series], pairs: Pairs, comparisons: Comparisons) -> Html | None:
    """Of each measure every run before and after its own training, and the runs against the first on held-out prompts."""
    names = dict.fromkeys(measure["name"] for member in series for measure in member.run.results.get("measures") or [])
    sections = [tag("section", tag("h3", name), _measure(name, series, comparisons), class_="task") for name in names]
    if any(task["task"] in names for comparison in comparisons.values() for task in comparison.get("tasks") or []):
        sections.append(tag("p", _HOLM, class_="note"))
    maps = problem_maps(series, pairs, HELD_OUT)
    if maps:
        sections.append(tag("section", tag("h3", "Held-out prompts"), tag("div", maps, class_="curves"), class_="task"))
    return join(sections) if sections else None


def _measure(name: str, series: Sequence[Series], comparisons: Comparisons) -> Html:
    every = [(member, measure) for member in series for measure in member.run.results.get("measures") or []]
    shown = [(member, measure) for member, measure in every if measure["name"] == name]
    interval_head, unit = drawn_head(
        [(measure.get("before"), measure.get("after")) for _, measure in shown], paired=True
    )
    heads: list[Head] = [("Run", ""), ("Before", "num"), ("After", "num"), interval_head, ("Change", "num")]
    rows = [
        row(
            member.label(),
            "" if measure.get("higher_is_better", True) else "lower is better",
            [
                *pair_cells(measure.get("before"), measure.get("after")),
                change_cell(measure.get("difference"), (measure.get("difference") or {}).get("p_value")),
            ],
        )
        for member, measure in shown
    ]
    return join([table(heads, rows, unit=unit), comparison_table(name, shown, comparisons)])


def _curves(series: Sequence[Series]) -> Html | None:
    curves = shared_curves(series)
    note = tag("p", "Of what at least two runs logged, smoothed over a tenth of the steps.", class_="lead")
    return join([note, curves]) if curves else None


def _completions(series: Sequence[Series], pairs: Pairs) -> Html | None:
    """The problems that each run gained and lost most against the first, with what both wrote."""
    sections = []
    first = series[0]
    for member in series[1:]:
        sides = Sides(first.title, member.title, f"with {member.letter}")
        for task, rows in pairs[member.letter].items():
            written = [entry for entry in rows if any(side["completion"] for side in entry["before"] + entry["after"])]
            shown = before_after(written, 4, sides)
            if shown:
                sections.append(
                    tag("section", tag("h3", f"{task}: {member.letter} against {first.letter}"), shown, class_="task")
                )
    return join(sections) if sections else None
