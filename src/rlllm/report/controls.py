"""Tables of an experiment of several runs: what the true reward adds over each control, and the gain of each run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlllm.core.runs import Run
from rlllm.report.markup import Html, join, tag
from rlllm.report.overlay import shared_curves
from rlllm.report.series import MAX_RUNS, legend, series_of
from rlllm.report.tables import Head, cell, drawn_head, row, signed_bounds, single_cells, table
from rlllm.report.wording import DASH, fixed, is_number, number


def experiment(results: Mapping[str, Any]) -> Html | None:
    """The parts for `controls`, `seeds` and `findings` of results.json; None for a run that is no experiment."""
    findings = results.get("findings") or []
    if not findings:
        return None
    sentences = tag(
        "ul", [tag("li", f"{text[:1].upper()}{text[1:]}.") for text in map(str, findings)], class_="findings"
    )
    return join(
        [sentences, *filter(None, (_controls(results.get("controls") or []), _runs(results.get("seeds") or [])))]
    )


def member_curves(run: Run) -> Html | None:
    """Learning curves of the runs of an experiment in common drawings, one run of each kind; None where there are none."""
    kinds = (run.results.get("seeds") or [])[:MAX_RUNS]
    series = series_of([Run(run.path / kind["runs"][0]) for kind in kinds])
    curves = shared_curves(series)
    return join([legend(series), curves]) if curves else None


def _controls(rows: Sequence[Mapping[str, Any]]) -> Html | None:
    if not rows:
        return None
    interval_head, unit = drawn_head([(None, control["added"]) for control in rows], paired=False)
    heads: list[Head] = [
        ("Compared with", ""),
        ("Gain, true reward", "num"),
        ("Gain, control", "num"),
        ("Added", "num"),
        interval_head,
    ]
    body = [
        row(
            str(control["phrase"]),
            str(control["how"]),
            [
                cell("Gain, true reward", fixed(control["gain"], signed=True), "num"),
                cell("Gain, control", fixed(control["control_gain"], signed=True), "num"),
                *single_cells(control["added"], [other["added"] for other in rows]),
            ],
        )
        for control in rows
    ]
    both = [_clustered(control) for control in rows if control.get("clustered")]
    return join([table(heads, body, unit=unit), *both])


def _clustered(control: Mapping[str, Any]) -> Html:
    """The other interval of several seeds, in words."""
    bounds = signed_bounds(control["clustered"])
    return tag("p", f"Over {control['phrase']}, with seeds and prompts drawn anew at once: {bounds}.", class_="note")


def _runs(rows: Sequence[Mapping[str, Any]]) -> Html | None:
    """Gain of every run; each number leads to that run's own report."""
    if not rows:
        return None
    heads = ["Runs", *(f"Seed {seed}" for seed in rows[0]["seeds"]), "Spread", "Tokens"]
    columns = [tag("th", head, scope="col", class_=None if head == "Runs" else "num") for head in heads]
    body = [tag("tr", tag("th", str(kind["name"]), scope="row"), list(_run_cells(kind))) for kind in rows]
    inner = tag("table", tag("thead", tag("tr", columns)), tag("tbody", body))
    return tag("div", inner, class_="scroll", role="region", aria_label="Gain of every run", tabindex="0")


def _run_cells(kind: Mapping[str, Any]) -> Iterable[Html]:
    for gain, name in zip(kind["gains"], kind["runs"], strict=True):
        yield tag("td", tag("a", fixed(gain, signed=True), href=f"{name}/report.html"), class_="num")
    yield tag("td", fixed(kind["spread"]) if len(kind["gains"]) > 1 else DASH, class_="num")
    tokens = [count for count in kind["tokens"] if is_number(count)]
    yield tag("td", number(sum(tokens)) if tokens else DASH, class_="num")
