"""Published results beside those of a pipeline: is mine consistent with theirs, and how much could have been seen?

A file has what was published, with its source: `assets/published/NAME.json`, or one of your own. Its numbers are compared with
the evaluations of two steps, one before training and one after, where these are of the same model and the same problems.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from rlllm.core.config import Section, model_reference
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.interval_text import interval_text
from rlllm.core.runs import Run

CONSISTENT = "consistent"
NOT_CONSISTENT = "not consistent"
NOT_COMPARABLE = "not comparable"


class PublishedValue(Section):
    """A rate as it was published."""

    value: float = Field(ge=0, le=1)
    """Share of the problems that were solved."""
    note: str = ""
    """What a reader should know of it."""


class PublishedResult(Section):
    """One published run."""

    name: str
    """Who, and by which method."""
    before: PublishedValue | None = None
    """Of the model before training."""
    after: PublishedValue | None = None
    """Of the model after training."""
    training: str = ""
    """How it was trained, as far as that is known."""
    source: str
    """Where it stands."""
    url: str
    """Its address."""


class Published(Section):
    """A file of published results on one task."""

    task: str
    """The problems, in words."""
    model: str
    """The model before training: its Hub id."""
    data: dict[str, str]
    """`name`, `subset` and `split` of the problems."""
    problems: int = Field(ge=1)
    """How many problems each rate is of."""
    results: list[PublishedResult] = Field(min_length=1)
    """The published runs."""


class PublishedSpec(Section):
    """What a pipeline is compared with: `gsm8k` is short for `{name: gsm8k}`."""

    name: str
    """A name of `assets/published`, or a `.json` file."""
    before: str = "before"
    """The step that evaluates the model before training."""
    after: str = "after"
    """The step that evaluates the model after training."""
    value: str = "pass@1"
    """The value that is compared."""

    def read(self) -> Published:
        """The file. Raises ConfigError where there is none, or where it says something else."""
        path = Path(self.name).expanduser() if self.name.endswith(".json") else _folder() / f"{self.name}.json"
        if not path.is_file():
            if self.name.endswith(".json"):
                raise ConfigError("no such file of published results", given=self.name)
            raise unknown("published results", self.name, sorted(file.stem for file in _folder().glob("*.json")))
        try:
            return Published.checked(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ConfigError("the file of published results is not JSON", given=f"{path}: {error}") from error


def _folder() -> Path:
    return Path(__file__).resolve().parents[1] / "assets" / "published"


def compare_published(spec: PublishedSpec, runs: Mapping[str, Run]) -> list[dict[str, Any]]:
    """A row for each published rate: `name`, `when`, `published`, `here`, `difference`, `detectable`, `answer` and `text`.

    Intervals are 95 %; that of a published rate is Wilson's of its problems.

    Args:
        spec: the file, and the steps that it is compared with.
        runs: step -> its finished run.
    """
    published = spec.read()
    rows = []
    for when, step in (("before", spec.before), ("after", spec.after)):
        here = _value(runs[step].results, spec.value)
        otherwise = list(_differences(published, runs[spec.before].config["settings"], runs[step].config["settings"]))
        for result in published.results:
            theirs = getattr(result, when)
            if theirs is not None and here is not None:
                rows.append(_row(published, result, when, theirs, here, otherwise))
    return rows


def _row(
    published: Published,
    result: PublishedResult,
    when: str,
    theirs: PublishedValue,
    here: Mapping[str, Any],
    otherwise: list[str],
) -> dict[str, Any]:
    from rlllm.evals.statistics.intervals import Interval, wilson
    from rlllm.evals.statistics.two_proportions import rate_difference

    other = wilson(theirs.value * published.problems, published.problems)
    row = {
        "name": result.name,
        "when": when,
        "published": other.to_json(),
        "here": dict(here),
        "note": theirs.note,
        "source": result.source,
        "url": result.url,
    }
    if otherwise:
        return {**row, "answer": NOT_COMPARABLE, "text": "; ".join(otherwise)}
    mine = Interval(here["estimate"], here["low"], here["high"], here["n"], here["method"])
    found = rate_difference(mine, other)
    return {
        **row,
        "difference": found.interval.to_json(),
        "detectable": found.detectable,
        "answer": CONSISTENT if found.consistent else NOT_CONSISTENT,
        "text": _words(found.consistent, found.detectable, mine.n, published.problems),
    }


def _words(consistent: bool, detectable: float, mine: int, theirs: int) -> str:
    draws = f"{mine:,} problems" if mine == theirs else f"{mine:,} problems here and {theirs:,} there"
    if not consistent:
        return f"more than chance in {draws} explains"
    return f"chance in {draws} explains it; a true difference of {detectable:.3f} would show in 4 of 5 such comparisons"


def _differences(published: Published, start: Mapping[str, Any], step: Mapping[str, Any]) -> Iterator[str]:
    """Why the rates are not of the same thing."""
    model = model_reference(start["model"]).partition("@")[0]
    if model != published.model:
        yield f"another model: {model}, not {published.model}"
    task = (step.get("tasks") or [{}])[0]
    data = task.get("data") or step["data"]
    if any(data.get(key) != value for key, value in published.data.items()):
        yield f"other problems: {data['name']}, not {published.task}"
    if step["sampling"]["temperature"]:
        yield f"sampled at temperature {step['sampling']['temperature']:g}, not greedily"


def _value(results: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """The value of the first task that has one of this name."""
    found = [task["values"][name] for task in results.get("tasks", {}).values() if name in task["values"]]
    return found[0] if found else None


NOTE = (
    "consistent: the 95 % interval of the difference holds 0, each side taken as a draw of its problems. It says nothing of "
    "what another seed would do, of which there is one on each side; prompts and the reading of answers may differ."
)
"""What the answers mean."""


def sentences(rows: list[dict[str, Any]]) -> list[str]:
    """The rows in sentences, for a page."""
    lines = [
        f"{row['name']} ({row['source']}), {row['when']} training: {interval_text(row['published'])} published"
        f"{', ' + row['note'] if row['note'] else ''}; {interval_text(row['here'])} here: {row['answer']}, {row['text']}."
        for row in rows
    ]
    judged = any(row["answer"] != NOT_COMPARABLE for row in rows)
    return [*lines, NOTE[:1].upper() + NOTE[1:]] if judged else lines
