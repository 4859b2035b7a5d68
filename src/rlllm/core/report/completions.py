"""What the model wrote: before and after training side by side, or the extremes of what was sampled.

Which prompts are shown is decided by their mean scores, ties by file order; of each prompt the completion whose score
is closest to that mean (the first of them), so that nobody picks a flattering one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.records import prompt_text
from rlllm.core.report.markup import Child, Html, tag
from rlllm.core.report.wording import count, is_number, number, shortened

Row = Mapping[str, Any]
SHOWN = 3
"""Prompts of each kind."""


@dataclass(frozen=True, slots=True)
class _Compared:
    """One prompt's completions before and after, with their mean scores (None: no reward could judge)."""

    row: Row
    before: float | None
    after: float | None

    @property
    def change(self) -> float:
        return self.after - self.before if self.after is not None and self.before is not None else 0.0


def before_after(rows: Sequence[Row], level: int) -> Html | None:
    """The prompts that gained and lost most, and the best and worst afterwards.

    Args:
        rows: `{"prompt", "answer", "before": [{"completion", "score"}], "after": [...]}`.
        level: heading level of the groups.
    """
    compared = [_Compared(row, _mean_score(row.get("before")), _mean_score(row.get("after"))) for row in rows]
    if not compared:
        return None
    ranked = [pair for pair in compared if pair.after is not None]
    groups = [
        ("Gained most", [pair for pair in sorted(ranked, key=lambda pair: -pair.change) if pair.change > 0]),
        ("Lost most", [pair for pair in sorted(ranked, key=lambda pair: pair.change) if pair.change < 0]),
        ("Worst afterwards", sorted(ranked, key=lambda pair: pair.after or 0.0)),
        ("Best afterwards", sorted(ranked, key=lambda pair: -(pair.after or 0.0))),
        ("Not judged", [pair for pair in compared if pair.after is None]),
    ]
    shown: set[int] = set()
    drawn: list[Html] = []
    for title, pairs in groups:
        chosen = [pair for pair in pairs if id(pair.row) not in shown][: SHOWN if "most" in title else 1]
        shown.update(id(pair.row) for pair in chosen)
        if chosen:
            drawn.append(_group(title, [_compared_card(pair) for pair in chosen], level))
    return tag("div", tag("p", _counts(compared), class_="lead"), drawn)


def sampled(first: Sequence[Row], last: Sequence[Row], level: int) -> Html | None:
    """Best and worst completion of the first and of the last logged step, for runs without a before-and-after file."""
    drawn = []
    for title, rows in (("First logged step", first), ("Last logged step", last if last != first else [])):
        scored = sorted((row for row in rows if is_number(row.get("reward"))), key=lambda row: row["reward"])
        extremes = [("lowest reward", scored[0]), ("highest reward", scored[-1])] if scored else []
        if extremes:
            cards = [_single_card(row, kind, row.get("completion"), row.get("reward")) for kind, row in extremes]
            drawn.append(_group(title, [tag("div", cards, class_="pair")], level))
    return tag("div", drawn) if drawn else None


def items(rows: Iterable[Row], level: int) -> Html | None:
    """Of every task of an evaluation the items with the lowest and the highest mean score."""
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("completions") and _mean(row.get("scores")) is not None:
            tasks.setdefault(str(row.get("task")), []).append(row)
    drawn = []
    for task, members in tasks.items():
        ranked = sorted(members, key=lambda row: _mean(row["scores"]) or 0.0)
        ends = [("lowest score", row) for row in ranked[:2]] + [("highest score", row) for row in ranked[2:][-2:]]
        cards = [_single_card(row, kind, row["completions"][0], _mean(row["scores"])) for kind, row in ends]
        drawn.append(_group(task, [tag("div", cards, class_="pair")], level))
    return tag("div", drawn) if drawn else None


def _counts(compared: Sequence[_Compared]) -> str:
    up, down = (sum(sign * pair.change > 1e-12 for pair in compared) for sign in (1, -1))
    rest = len(compared) - up - down
    return f"Of {count(len(compared), 'prompt')}, {up} scored higher afterwards, {down} lower and {rest} the same."


def _group(title: str, cards: Sequence[Html], level: int) -> Html:
    return tag("section", tag(f"h{level}", title), cards, class_="group")


def _compared_card(pair: _Compared) -> Html:
    columns = [
        _column(_label("Before", pair.row.get("before"), pair.before), _first(pair.row.get("before"))),
        _column(_label("After", pair.row.get("after"), pair.after), _first(pair.row.get("after"))),
    ]
    return tag("article", _prompt(pair.row), tag("div", columns, class_="pair"), class_="exchange")


def _single_card(row: Row, kind: str, completion: object, score: float | None) -> Html:
    label = [kind, tag("span", f"score {number(score) if score is not None else 'none'}", class_="score")]
    return tag("article", _prompt(row), _column(label, completion), class_="exchange")


def _prompt(row: Row) -> Html:
    prompt, answer = row.get("prompt"), row.get("answer")
    shown = prompt_text(prompt) if isinstance(prompt, str | list) and prompt else "(empty prompt)"
    reference = tag("p", "Reference ", tag("code", shortened(str(answer), 200)), class_="reference")
    return tag("header", _words(shortened(shown, 800)), reference if answer is not None else None)


def _column(label: Child, completion: object) -> Html:
    written = str(completion) if completion is not None else ""
    return tag("div", tag("p", label, class_="label"), _words(shortened(written) or "(nothing)"), class_="column")


def _words(written: str) -> Html:
    """Text of a model: keeps its line breaks, and `dir=auto` keeps other scripts readable."""
    return tag("pre", written, dir="auto", class_="words")


def _label(kind: str, drawn: object, mean: float | None) -> Child:
    amount = len(drawn) if isinstance(drawn, list) else 0
    if mean is None:
        return [kind, tag("span", "not judged", class_="score")]
    shown = number(mean)
    return [kind, tag("span", f"score {shown}" if amount == 1 else f"mean score {shown} of {amount}", class_="score")]


def _first(drawn: object) -> object:
    return drawn[0].get("completion") if isinstance(drawn, list) and drawn else None


def _mean_score(drawn: object) -> float | None:
    return _mean([entry.get("score") for entry in drawn]) if isinstance(drawn, list) else None


def _mean(scores: object) -> float | None:
    known = [score for score in scores if is_number(score) and math.isfinite(score)] if isinstance(scores, list) else []
    return math.fsum(known) / len(known) if known else None
