"""Results by the values of a column: `by: level`, `by: subset`, `by: label`, for every metric whose items have scores.

A group's value is the mean score of its problems with the interval of `mean_interval`. `mean over COLUMN` weighs all groups the
same, however many problems each has, as RewardBench and most leaderboards do. `spread over COLUMN` is the standard deviation
of the groups' values: with groups of redrawn numbers, what another draw may give.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import stdev
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import Record
from rlllm.evals.items import item_ids
from rlllm.evals.request import Evaluation
from rlllm.evals.statistics.intervals import Interval, mean_interval, score_bounds

MAX_GROUPS = 200
_Groups = Mapping[str, str | None]
"""Id of an item to its group; None where rows of several groups have this id."""


def grouped(evaluation: Evaluation, groups: _Groups, column: str, seed: int) -> Evaluation:
    """The evaluation with one more value for each group, `COLUMN=GROUP`, and their plain mean.

    Each item gets its group under `group`; those without one are counted in `extra` as `ungrouped`, and the standard deviation
    of the groups' values is there as `spread over COLUMN`. A group of which nothing could be judged has no value.

    Args:
        groups: what `group_of` gave for the records.
    """
    items = [{**item, "group": groups.get(item["id"])} for item in evaluation.items]
    scores: dict[str, list[list[float]]] = defaultdict(list)
    for item in items:
        if item["group"] is not None:
            scores[item["group"]].append(item["scores"])
    bounds = score_bounds(*scores.values())
    values = {
        f"{column}={name}": mean_interval(scores[name], seed, bounds=bounds) for name in sorted(scores, key=_order)
    }
    mean = {f"mean over {column}": mean_of(list(values.values()))} if len(values) > 1 else {}
    ungrouped = sum(item["group"] is None for item in items)
    spread = {f"spread over {column}": stdev(value.estimate for value in values.values())} if len(values) > 1 else {}
    extra = {**evaluation.extra, **({"ungrouped": ungrouped} if ungrouped else {}), **spread}
    return replace(evaluation, items=items, values={**evaluation.values, **values, **mean}, extra=extra)


def group_of(records: Sequence[Record], column: str) -> _Groups:
    """What the column of its row says of each problem, as text.

    Raises:
        DataError: a row has no such column, or there are too many groups for this to be a grouping.
    """
    groups: dict[str, str | None] = {}
    for number, record in enumerate(records, 1):
        value = record.meta.get(column)
        if value is None:
            raise DataError(
                f"row {number} has no column {column} to group by",
                given=f"by={column}",
                exists=sorted(map(str, record.meta)),
            )
        for key in item_ids(record):
            groups[key] = str(value) if groups.setdefault(key, str(value)) == str(value) else None
    count = len(set(groups.values()))
    if count > MAX_GROUPS:
        raise DataError(f"{count} groups are no grouping", given=f"by={column}", hint="name a column of few values")
    return groups


def mean_of(parts: Sequence[Interval]) -> Interval:
    """Mean of independent estimates, each weighed the same, with an interval made of theirs.

    The method of variance estimates recovery: each side of the mean's interval is the root of the sum of squares of the parts'
    sides. Unlike a bootstrap it knows that a group of ten right answers of ten is not certain.

    Source: Zou & Donner, Stat. Med. 27 (2008), 1693.
    """
    count = len(parts)
    estimate = math.fsum(part.estimate for part in parts) / count
    below = math.hypot(*(part.estimate - part.low for part in parts)) / count
    above = math.hypot(*(part.high - part.estimate for part in parts)) / count
    return Interval(estimate, estimate - below, estimate + above, sum(part.n for part in parts), "mover")


def _order(text: str) -> tuple[Any, ...]:
    """Numbers by size, then words by the alphabet."""
    return (0, int(text), text) if text.isdecimal() and text.isascii() else (1, 0, text)
