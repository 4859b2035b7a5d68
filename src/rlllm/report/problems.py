"""Chart of problems gained and lost: the mean score of each problem before and after, or in two runs.

Evaluations are paired by task and item id, training runs by the prompts they hold out. Only what both have is shown.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rlllm.core.runs import Run, read_jsonl
from rlllm.report.axes import drawing, linear, place
from rlllm.report.markup import Html, tag
from rlllm.report.wording import count, is_number, labels

Row = dict[str, Any]
"""`{"prompt", "answer", "before": [{"completion", "score"}], "after": [...]}`"""
HELD_OUT = "held-out prompts"
"""Name of the task that training runs were measured on."""
MAP_NOTE = (
    "A dot is all problems whose mean score went from the value below it to the value beside it; its area counts them. Above "
    "the diagonal they got better. A problem is solved where its mean score is at least one half: gained are those that were "
    "not solved and then were, lost are those the other way round."
)
_SIZE, _LEFT, _TOP, _BOTTOM = 208, 44, 8, 42
_HALF = 0.5
_MARKS = (0.0, 0.5, 1.0)


def paired_rows(a: Run, b: Run) -> dict[str, list[Row]]:
    """Of each task the problems that both runs have, with the completions and scores of both, in the order of `a`."""
    theirs = dict(_problems(b))
    tasks: dict[str, list[Row]] = {}
    for (task, name), (prompt, answer, completions) in _problems(a):
        if (task, name) in theirs:
            pair = {"before": completions, "after": theirs[task, name][2]}
            tasks.setdefault(task, []).append({"prompt": prompt, "answer": answer, **pair})
    return tasks


def problem_map(rows: Sequence[Row], before: str, after: str, title: str) -> Html | None:
    """How many problems moved from which pass rate to which; None where scores are no rates in [0, 1], or there are none.

    Args:
        before, after: names of the two sides, on the axes.
        title: what is compared.
    """
    pairs = [(_mean(row["before"]), _mean(row["after"])) for row in rows]
    judged = [(old, new) for old, new in pairs if old is not None and new is not None]
    if not judged or not all(0 <= value <= 1 for pair in judged for value in pair):
        return None
    gained, lost = (sum(_side(old, new) == side for old, new in judged) for side in (1, -1))
    solved = sum(_solved(old) and _solved(new) for old, new in judged)
    never = len(judged) - gained - lost - solved
    words = f"{gained} gained, {lost} lost, {solved} solved by both, {never} by neither"
    caption = tag(
        "figcaption",
        tag("span", title, class_="name"),
        tag(
            "small",
            [tag("span", f"● {gained} gained", class_="gained"), ", ", tag("span", f"○ {lost} lost", class_="failed")],
            f"; both solve {solved}, neither {never}",
        ),
    )
    image = _map(f"{title}, {count(len(judged), 'problem')}: {words}", judged, before, after)
    return tag("figure", caption, image, class_="curve")


def _map(described: str, pairs: Sequence[tuple[float, float]], before: str, after: str) -> Html:
    x = linear(0, 1, _LEFT + 12, _LEFT + _SIZE - 12)
    y = linear(0, 1, _TOP + _SIZE - 12, _TOP + 12)
    bubbles = Counter(_cells(pairs))
    largest = max(bubbles.values())
    levels = max(len({pair[side] for pair in bubbles}) for side in (0, 1))
    radius = max(4.0, min(11.0, 0.55 * (_SIZE - 24) / max(1, levels - 1)))
    right, bottom = _LEFT + _SIZE, _TOP + _SIZE
    return drawing(
        described,
        _region(_LEFT, _TOP, x(_HALF) - 6, y(_HALF) + 6),
        _region(x(_HALF) - 6, y(_HALF) + 6, right, bottom),
        tag("rect", x=_LEFT, y=_TOP, width=_SIZE, height=_SIZE, class_="grid hollow"),
        tag("line", x1=_LEFT, y1=bottom, x2=right, y2=_TOP, class_="grid diagonal"),
        [
            _bubble(x(old), y(new), radius * math.sqrt(amount / largest), _side(old, new))
            for (old, new), amount in sorted(bubbles.items(), key=lambda entry: -entry[1])
        ],
        [
            [
                tag("text", label, x=_LEFT - 6, y=place(y(mark) + 3.6), class_="tick end"),
                tag("text", label, x=place(x(mark)), y=bottom + 15, class_="tick middle"),
            ]
            for mark, label in zip(_MARKS, labels(_MARKS), strict=True)
        ],
        tag("text", f"mean score, {before} →", x=right, y=bottom + 32, class_="tick end"),
        tag("text", f"mean score, {after} →", x=10, y=_TOP, class_="tick end", transform=f"rotate(-90 10 {_TOP})"),
        width=right + 12,
        height=_TOP + _SIZE + _BOTTOM,
        kind="map",
    )


def _region(left: float, top: float, right: float, bottom: float) -> Html:
    """Where problems were gained, or lost."""
    sides = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return tag("rect", class_="region", **{name: place(value) for name, value in sides.items()})


def _bubble(x: float, y: float, radius: float, side: int) -> Html:
    kind = {1: "bubble gained", -1: "bubble lost", 0: "bubble"}[side]
    return tag("circle", cx=place(x), cy=place(y), r=place(max(1.8, radius)), class_=kind)


def _cells(pairs: Sequence[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    """The pairs as they are, or rounded to tenths where they would make too many bubbles."""
    exact = [(round(old, 3), round(new, 3)) for old, new in pairs]
    return exact if len(set(exact)) <= 120 else [(round(old, 1), round(new, 1)) for old, new in exact]


def _problems(run: Run) -> Iterable[tuple[tuple[str, str], tuple[Any, Any, list[dict[str, Any]]]]]:
    """(task, identity) and (prompt, answer, scored completions) of every problem; of a training run as it ended."""
    problems: dict[tuple[str, str], tuple[Any, Any, list[dict[str, Any]]]] = {}
    for item in read_jsonl(run.path / "items.jsonl", []):
        scores, texts = item.get("scores") or [], item.get("completions") or []
        completions = [
            {"completion": text, "score": score}
            for score, text in zip_longest(scores, texts[: len(scores)], fillvalue="")
        ]
        problem = problems.setdefault(
            (str(item.get("task")), str(item.get("id"))), (item.get("prompt"), item.get("answer"), [])
        )
        problem[2].extend(completions)
    for row in read_jsonl(run.path / "before_after.jsonl", []):
        name = json.dumps([row.get("prompt"), row.get("answer")], sort_keys=True)
        problems.setdefault((HELD_OUT, name), (row.get("prompt"), row.get("answer"), list(row.get("after") or [])))
    return problems.items()


def _mean(completions: Sequence[Mapping[str, Any]]) -> float | None:
    scores = [
        completion["score"]
        for completion in completions
        if is_number(completion.get("score")) and math.isfinite(completion["score"])
    ]
    return math.fsum(scores) / len(scores) if scores else None


def _solved(mean: float) -> bool:
    return mean >= _HALF or math.isclose(mean, _HALF)


def _side(old: float, new: float) -> int:
    """1 for a problem gained, -1 for one lost, 0 for the others."""
    return int(_solved(new)) - int(_solved(old))
