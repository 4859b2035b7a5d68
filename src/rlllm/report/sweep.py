"""The page of a sweep: its table, each arm against the baseline drawn, the runs of every arm, and learning curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlllm.core.runs import Run
from rlllm.report.layout import Part, page, reproduce, scrolled, section
from rlllm.report.markup import Html, join, tag
from rlllm.report.overlay import shared_curves
from rlllm.report.provenance import command_of
from rlllm.report.series import MAX_RUNS, legend, series_of
from rlllm.report.sweep_tables import sweep_notes, sweep_rows
from rlllm.report.tables import Head, cell, drawn_head, row, single_cells, table
from rlllm.report.wording import count, fixed, p_value


def render_sweep(run: Run) -> str:
    """The page of a sweep, as the text of an HTML file; made from the files of its directory."""
    results, config = run.read("results.json"), run.read_or_empty("config.json")
    command = command_of(config)
    parts: list[Part] = [
        ("table", "Table", _whole_table(results)),
        ("comparisons", f"Against {results['baseline']}", _comparisons(results, with_baseline=True)),
        ("controls", "Against their controls", _comparisons(results, with_baseline=False)),
        ("runs", "Runs", _runs(results)),
        ("curves", "Learning curves of the first seed", _curves(run, results)),
        ("tuning", "Tuning", _tuning(results)),
        ("again", "Run it again", reproduce([command]) if command else None),
    ]
    parts = [part for part in parts if part[2]]
    header = tag(
        "header",
        tag("p", "rlllm sweep", class_="eyebrow"),
        tag("h1", str(results.get("title") or run.path.name)),
        _headline(run, results),
        tag("ul", [tag("li", text) for text in results["findings"]], class_="said") if results["findings"] else None,
        class_="page",
    )
    return page(f"{run.path.name} · rlllm sweep", header, parts, [section(2, *part) for part in parts])


def _headline(run: Run, results: Mapping[str, Any]) -> Html:
    """How many runs there are, and what failed."""
    runs = [entry for arm in results["arms"].values() for entry in arm["seeds"]]
    measured = sum(entry["numbers"] is not None for entry in runs)
    asked = len(results["arms"]) * len(results["seeds"])
    ok, state = run.verdict.get("ok"), run.state
    words = f"{measured} of {count(asked, 'run')} measured, {count(len(results['arms']), 'arm')}"
    words += "." if ok else f"; the sweep's state is: {state}."
    sign = tag("span", "✓" if ok else "✕", aria_hidden="true", class_="sign")
    reasons = run.verdict.get("reasons") or []
    return tag(
        "div",
        tag("p", sign, words, class_="headline ok" if ok else "headline failed"),
        tag("ul", [tag("li", tag("b", reason["text"])) for reason in reasons], class_="reasons") if reasons else None,
        class_="verdict",
    )


def _whole_table(results: Mapping[str, Any]) -> Html:
    heads, rows = sweep_rows(results)
    columns = [tag("th", head, scope="col", class_="num" if at else None) for at, head in enumerate(heads)]
    body = [
        tag("tr", tag("th", cells[0], scope="row"), [tag("td", text, class_="num") for text in cells[1:]])
        for cells in rows
    ]
    inner = tag("table", tag("thead", tag("tr", columns)), tag("tbody", body))
    return join([scrolled("Arms", inner), [tag("p", note, class_="note") for note in sweep_notes(results)]])


def _comparisons(results: Mapping[str, Any], *, with_baseline: bool) -> Html | None:
    """The differences to the baseline, or those to other arms that the recipe names."""
    compared = [
        entry
        for entry in results["comparisons"]
        if entry["difference"] and (entry["baseline"] == results["baseline"]) == with_baseline
    ]
    if not compared:
        return None
    intervals = [entry["difference"] for entry in compared]
    interval_head, unit = drawn_head([(None, interval) for interval in intervals], paired=False)
    heads: list[Head] = [("Arm", ""), ("Difference", "num"), interval_head, ("p", "num"), ("p, Holm", "num"), ("", "")]
    rows = [
        row(
            entry["arm"] if with_baseline else f"{entry['arm']} over {entry['baseline']}",
            entry["how"],
            [
                *single_cells(entry["difference"], intervals, "Difference"),
                cell("p", p_value(entry["p_value"]), "num"),
                cell("p, Holm", p_value(entry["p_holm"]), "num"),
                cell("Conclusion", entry["conclusion"]),
            ],
        )
        for entry in compared
    ]
    both = [entry for entry in compared if entry["crossed"]]
    crossed = [
        tag(
            "p",
            "With seeds and problems drawn anew at once: "
            + "; ".join(
                f"{entry['arm']} over {entry['baseline']} {fixed(entry['crossed']['low'], 3, signed=True)} to "
                f"{fixed(entry['crossed']['high'], 3, signed=True)}"
                for entry in both
            )
            + ".",
            class_="note",
        )
    ]
    return join([table(heads, rows, unit=unit), *(crossed if both else [])])


def _runs(results: Mapping[str, Any]) -> Html:
    """The main measure of every run; each number leads to the run's own report."""
    seeds = list(results["seeds"])
    heads = [tag("th", "Arm", scope="col"), *(tag("th", f"Seed {seed}", scope="col", class_="num") for seed in seeds)]
    body = [
        tag("tr", tag("th", name, scope="row"), list(_run_cells(arm, seeds))) for name, arm in results["arms"].items()
    ]
    inner = tag("table", tag("thead", tag("tr", [*heads, tag("th", "What to know", scope="col")])), tag("tbody", body))
    return scrolled("Runs", inner)


def _run_cells(arm: Mapping[str, Any], seeds: Sequence[int]) -> Iterable[Html]:
    by_seed = {entry["seed"]: entry for entry in arm["seeds"]}
    for seed in seeds:
        entry = by_seed.get(seed)
        if entry is None:
            yield tag("td", "", class_="num")
        elif entry["numbers"] is None:
            yield tag("td", tag("span", "failed", class_="failed", title=entry["failure"]), class_="num")
        else:
            shown = fixed(entry["numbers"]["after"], 3)
            yield tag("td", tag("a", shown, href=f"{entry['run']}/report.html"), class_="num")
    failures = [f"seed {entry['seed']}: {entry['failure']}" for entry in arm["seeds"] if entry["failure"]]
    yield tag("td", "; ".join(filter(None, (arm["stopped"], *arm["notes"], *failures))))


def _curves(run: Run, results: Mapping[str, Any]) -> Html | None:
    """Of the first arms, as many as one drawing holds."""
    folders = [
        entry["run"]
        for arm in results["arms"].values()
        for entry in arm["seeds"][:1]
        if entry["run"] and entry["numbers"]
    ]
    series = series_of([Run(run.path / folder) for folder in folders[:MAX_RUNS]])
    curves = shared_curves(series) if len(series) > 1 else None
    return join([legend(series), curves]) if curves else None


def _tuning(results: Mapping[str, Any]) -> Html | None:
    tuning = results.get("tuning") or {}
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", value["name"]),
            tag("td", ", ".join(fixed(number, 3) for number in value["values"].values()) or value["failure"] or ""),
            tag("td", "chosen" if value["name"] == entry["chosen"] else value.get("dropped") or ""),
        )
        for name, entry in tuning.items()
        for value in entry["values"]
    ]
    if not rows:
        return None
    heads = [tag("th", head, scope="col") for head in ("Arm", "Value", "By seed", "")]
    return scrolled("Tuning", tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows)))
