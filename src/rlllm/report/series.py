"""Runs on one page: each has a letter, a short name and a line style, so that colour is never the only sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from rlllm.core.config import model_reference
from rlllm.core.runs import Run
from rlllm.report.markup import Html, tag
from rlllm.report.wording import named, shortened

MAX_RUNS = 8
"""Runs that one page can tell apart; as many line styles as the style sheet has."""


@dataclass(frozen=True, slots=True)
class Series:
    """One of the runs on a page."""

    run: Run
    letter: str
    name: str
    """The last parts of its path, as many as tell the runs apart."""

    @property
    def kind(self) -> str:
        """Its class in the style sheet."""
        return f"s{ascii_uppercase.index(self.letter)}"

    @property
    def title(self) -> str:
        return f"{self.letter} {self.name}"

    def key(self) -> Html:
        """Its line and letter, as in the drawings."""
        line = tag("line", x1=1, x2=27, y1=6, y2=6, class_="series")
        swatch = tag("svg", line, viewBox="0 0 28 12", class_="swatch", aria_hidden="true")
        return tag("span", swatch, tag("b", self.letter), class_=f"serie {self.kind}")

    def label(self) -> Html:
        """Key and name, for the head of a row."""
        return tag("span", self.key(), " ", self.name, class_="labelled")


def series_of(runs: Sequence[Run]) -> list[Series]:
    """The runs with their letters, in the order given."""
    names = short_names([run.path for run in runs])
    return [Series(run, letter, name) for run, letter, name in zip(runs, ascii_uppercase, names, strict=False)]


def legend(series: Sequence[Series]) -> Html:
    """Letter, name and line of every run, and what it is in a few words."""
    entries = []
    for member in series:
        config = member.run.read_or_empty("config.json")
        settings = config.get("settings") or {}
        words = [str(config.get("stage") or "run"), str(settings.get("method") or "")]
        words += [f"model {shortened(named(model_reference(settings['model'])), 60)}"] if settings.get("model") else []
        verdict = member.run.verdict.get("ok")
        sign = "" if verdict is None else "✓ ok" if verdict else "✕ failed"
        state = tag("span", sign, class_="ok" if verdict else "failed") if sign else None
        described = tag("small", " · ".join(word for word in words if word), " ", state)
        entries.append(tag("li", member.key(), tag("span", tag("b", member.name), described)))
    return tag("ul", entries, class_="legend", aria_label="Runs")


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as few as tell them all apart; one and the same path twice keeps its whole name."""
    most = max((len(path.parts) for path in paths), default=0)
    for parts in range(1, most + 1):
        names = ["/".join(path.parts[-parts:]) or str(path) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
