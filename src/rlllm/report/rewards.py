"""Table and curves of each reward: its mean early and late in the run, and how often it could not judge or failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.report.axes import Point, ends
from rlllm.report.charts import learning_curve, sparkline
from rlllm.report.layout import scrolled
from rlllm.report.markup import Child, Html, tag
from rlllm.report.series import Series
from rlllm.report.wording import DASH, fixed, is_number

Row = dict[str, Any]


@dataclass(slots=True)
class Source:
    """Running totals of one reward over the samples of a run."""

    by_step: dict[float, list[float]] = field(default_factory=dict)
    """Step -> [sum, number of judged completions]."""
    total: int = 0
    unjudged: int = 0
    errors: int = 0

    def add(self, step: float, score: Mapping[str, Any]) -> None:
        self.total += 1
        self.errors += bool(score.get("error"))
        value = score.get("value")
        if not is_number(value) or value != value:
            self.unjudged += not score.get("error")
            return
        cell = self.by_step.setdefault(step, [0.0, 0.0])
        cell[0] += value
        cell[1] += 1

    def points(self) -> list[Point]:
        return [(step, total / judged) for step, (total, judged) in sorted(self.by_step.items())]


def written(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of `samples.jsonl` that the policy wrote: all but traces, which stand in a group beside its samples."""
    return (row for row in rows if not row.get("demonstration"))


def tally(sources: dict[str, Source], rows: Iterable[Mapping[str, Any]]) -> None:
    """Add sampled completions to the totals of their rewards."""
    for row in rows:
        for name, score in (row.get("rewards") or {}).items():
            if isinstance(score, Mapping):
                sources.setdefault(name, Source()).add(float(row.get("step") or 0), score)


def reward_table(sources: Mapping[str, Source]) -> Html | None:
    """One row for each reward that scored anything."""
    if not sources:
        return None
    return _table("Rewards by source", "Reward", [_source_row(name, name, source) for name, source in sources.items()])


def compared_rewards(series: Sequence[Series]) -> Html | None:
    """Of each reward one row for each run that used it; None where no run logged completions."""
    tallies: list[dict[str, Source]] = []
    for member in series:
        tallies.append({})
        tally(tallies[-1], written(member.run.samples()))
    names = dict.fromkeys(name for run_sources in tallies for name in run_sources)
    rows = [
        _source_row(name, [member.label(), tag("small", name)], run_sources[name])
        for name in names
        for member, run_sources in zip(series, tallies, strict=True)
        if name in run_sources
    ]
    return _table("Rewards by source", "Run and reward", rows) if rows else None


def _table(title: str, first: str, rows: Iterable[Html]) -> Html:
    heads = [first, "First tenth", "Last tenth", "Over the run", "Scored", "Could not judge", "Errors"]
    kinds = ["", "num", "num", "", "num", "num", "num"]
    columns = [tag("th", head, scope="col", class_=kind) for head, kind in zip(heads, kinds, strict=True)]
    return scrolled(title, tag("table", tag("thead", tag("tr", columns)), tag("tbody", rows)))


def monitored_curves(total: Source, sources: Mapping[str, Source], names: Iterable[str]) -> Html | None:
    """The reward that was maximised beside each that was only monitored; None where none was."""
    monitored = [(name, sources[name].points()) for name in names if name in sources and sources[name].points()]
    if not monitored or not total.points():
        return None
    figures = [learning_curve("Total reward", "what the run maximises", total.points())]
    figures += [learning_curve(name, "only monitored, weight 0", points) for name, points in monitored]
    return tag("div", figures, class_="curves")


def _source_row(name: str, title: Child, source: Source) -> Html:
    points = source.points()
    first, last = ends(points) if points else (None, None)
    errors = tag("span", f"{source.errors:,}", class_="failed") if source.errors else "0"
    return tag(
        "tr",
        tag("th", title, scope="row"),
        tag("td", fixed(first) if points else DASH, class_="num"),
        tag("td", tag("b", fixed(last)) if points else DASH, class_="num"),
        tag("td", sparkline(name, points) if len(points) > 1 else None),
        tag("td", f"{source.total:,}", class_="num"),
        tag("td", f"{source.unjudged:,}", class_="num"),
        tag("td", errors, class_="num"),
    )
