"""Completions in a report: before and after training side by side, or the lowest and highest scores of what was sampled.

Which prompts are shown is decided by their mean scores, ties by file order; of each prompt the completion whose score
is closest to that mean (the first of them), so that nobody picks a flattering one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.images import image_size, thumbnail
from rlllm.core.records import images_of, prompt_text
from rlllm.report.markup import Html, tag
from rlllm.report.wording import count, is_number, number, shortened

Row = Mapping[str, Any]
_THUMBNAIL = 96
"""Pixels of the longer side of an image in the page; a smaller one is enlarged by a whole number."""
_GROUP = 3
"""Prompts shown of those that gained, and of those that lost."""


@dataclass(frozen=True, slots=True)
class _Completions:
    """The completions of one prompt; a score is None where no reward could judge."""

    completions: Sequence[str]
    scores: Sequence[float | None]

    @property
    def mean(self) -> float | None:
        judged = [score for score in self.scores if score is not None]
        return math.fsum(judged) / len(judged) if judged else None

    def typical(self) -> int:
        """Position of the completion to show."""
        mean = self.mean
        judged = [position for position, score in enumerate(self.scores) if score is not None]
        return min(judged, key=lambda position: abs((self.scores[position] or 0.0) - (mean or 0.0)), default=0)


@dataclass(frozen=True, slots=True)
class _Compared:
    """One prompt before and after."""

    row: Row
    before: _Completions
    after: _Completions

    @property
    def change(self) -> float:
        if self.before.mean is None or self.after.mean is None:
            return 0.0
        return self.after.mean - self.before.mean


@dataclass(frozen=True, slots=True)
class Sides:
    """What the two columns are called, and how a sentence says that it is about the second."""

    before: str = "Before"
    after: str = "After"
    then: str = "afterwards"


def before_after(rows: Sequence[Row], level: int, sides: Sides = Sides()) -> Html | None:
    """The prompts that gained and lost most, and the worst and the best afterwards.

    Args:
        rows: `{"prompt", "answer", "before": [{"completion", "score"}], "after": [...]}`.
        level: heading level of the groups.
        sides: names of the two columns.
    """
    compared = [_Compared(row, _completions(row.get("before")), _completions(row.get("after"))) for row in rows]
    if not compared:
        return None
    judged = [pair for pair in compared if pair.after.mean is not None]
    groups = [
        ("Gained most", _GROUP, [pair for pair in sorted(judged, key=lambda pair: -pair.change) if pair.change > 0]),
        ("Lost most", _GROUP, [pair for pair in sorted(judged, key=lambda pair: pair.change) if pair.change < 0]),
        (f"Worst {sides.then}", 1, sorted(judged, key=lambda pair: pair.after.mean or 0.0)),
        (f"Best {sides.then}", 1, sorted(judged, key=lambda pair: -(pair.after.mean or 0.0))),
        ("Not judged", 1, [pair for pair in compared if pair.after.mean is None]),
    ]
    shown: set[int] = set()
    sections: list[Html] = []
    for title, most, pairs in groups:
        chosen = [pair for pair in pairs[:most] if id(pair) not in shown]
        shown.update(id(pair) for pair in chosen)
        if chosen:
            sections.append(_group(title, [_compared_card(pair, sides) for pair in chosen], level))
    return tag("div", tag("p", _counts(compared, sides.then), class_="lead"), sections)


def sampled(first: Sequence[Row], last: Sequence[Row], level: int) -> Html | None:
    """Lowest and highest reward of the first and of the last logged step, for runs without a before-and-after file."""
    sections = []
    for title, rows in (("First logged step", first), ("Last logged step", last if last != first else [])):
        scored = sorted((row for row in rows if is_number(row.get("reward"))), key=lambda row: row["reward"])
        extremes = [("Lowest reward", scored[0]), ("Highest reward", scored[-1])] if scored else []
        cards = [
            _single_card(row, kind, _Completions([str(row.get("completion"))], [row["reward"]]))
            for kind, row in extremes
        ]
        if cards:
            sections.append(_group(title, [tag("div", cards, class_="pair")], level))
    return tag("div", sections) if sections else None


def items(rows: Iterable[Row], level: int) -> Html | None:
    """Of every task of an evaluation the two items with the lowest and the two with the highest mean score."""
    tasks: dict[str, list[tuple[float, Row, _Completions]]] = {}
    for row in rows:
        sampled_texts = _Completions(
            [str(text) for text in row.get("completions") or []], _scores(row.get("scores") or [])
        )
        if sampled_texts.completions and sampled_texts.mean is not None:
            tasks.setdefault(str(row.get("task")), []).append((sampled_texts.mean, row, sampled_texts))
    groups = []
    for task, members in tasks.items():
        ranked = sorted(members, key=lambda member: member[0])
        ends = [("Lowest score", member) for member in ranked[:2]]
        ends += [("Highest score", member) for member in ranked[2:][-2:]]
        cards = [_single_card(row, kind, sampled_texts) for kind, (_, row, sampled_texts) in ends]
        groups.append(_group(task, [tag("div", cards, class_="pair")], level))
    return tag("div", groups) if groups else None


def _counts(compared: Sequence[_Compared], then: str) -> str:
    up, down = (sum(sign * pair.change > 1e-12 for pair in compared) for sign in (1, -1))
    rest = len(compared) - up - down
    return f"Of {count(len(compared), 'prompt')}, {up} scored higher {then}, {down} lower and {rest} the same."


def _group(title: str, cards: Sequence[Html], level: int) -> Html:
    return tag("section", tag(f"h{level}", title), cards, class_="group")


def _compared_card(pair: _Compared, sides: Sides) -> Html:
    columns = [_column(sides.before, pair.before), _column(sides.after, pair.after)]
    return tag("article", _prompt(pair.row), tag("div", columns, class_="pair"), class_="exchange")


def _single_card(row: Row, kind: str, texts: _Completions) -> Html:
    return tag("article", _prompt(row), _column(kind, texts), class_="exchange")


def _prompt(row: Row) -> Html:
    prompt, answer = row.get("prompt"), row.get("answer")
    asked = prompt if isinstance(prompt, str | list) and prompt else "(empty prompt)"
    shown = prompt_text(asked)
    pictures = [_picture(image, place) for place, image in enumerate(images_of(asked), start=1)]
    seen = tag("p", pictures, class_="seen") if pictures else None
    reference = tag("p", "Reference ", tag("code", shortened(str(answer), 200)), class_="reference")
    return tag("header", seen, _words(shortened(shown, 800)), reference if answer is not None else None)


def _picture(reference: str, place: int) -> Html:
    """A thumbnail of an image; its place in words where its file is gone since, or was replaced by something else."""
    try:
        width, height = image_size(reference)
        embedded = thumbnail(reference, _THUMBNAIL)
    except DataError as error:
        return tag("span", f"image {place}: {error.what}")
    scale = _THUMBNAIL / max(width, height)
    scale = float(int(scale)) if scale >= 1 else scale
    words = f"image {place} of the prompt, {width} by {height} pixels"
    size = {"width": max(1, round(width * scale)), "height": max(1, round(height * scale))}
    return tag("img", src=embedded, alt=words, title=words, **size)


def _column(kind: str, texts: _Completions) -> Html:
    position = texts.typical()
    written = texts.completions[position] if texts.completions else ""
    score = texts.scores[position] if position < len(texts.scores) else None
    judged = f"score {number(score)}" if score is not None else "not judged"
    if len(texts.completions) > 1 and texts.mean is not None:
        judged += f", mean of {len(texts.completions)}: {number(texts.mean)}"
    label = tag("p", tag("span", kind), tag("span", judged, class_="score"), class_="label")
    return tag("div", label, _words(shortened(written) or "(nothing)"), class_="column")


def _words(written: str) -> Html:
    """Text of a model: keeps its line breaks, and `dir=auto` keeps other scripts readable."""
    return tag("pre", written, dir="auto", class_="words")


def _completions(entries: object) -> _Completions:
    rows = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    return _Completions([str(row.get("completion", "")) for row in rows], _scores([row.get("score") for row in rows]))


def _scores(values: Sequence[object]) -> list[float | None]:
    return [value if is_number(value) and math.isfinite(value) else None for value in values]
