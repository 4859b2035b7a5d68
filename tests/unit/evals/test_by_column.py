"""Results by group: who belongs where, what a group's value is, and an interval of the mean that covers."""

from __future__ import annotations

import numpy as np
import pytest

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, PromptTask, Record, StepwiseSolution
from rlllm.evals.by_column import MAX_GROUPS, group_of, grouped, mean_of
from rlllm.evals.items import item_ids, task_id
from rlllm.evals.request import Evaluation
from rlllm.evals.statistics.intervals import Interval, mean_interval, wilson


def tasks(*levels: object) -> list[Record]:
    return [PromptTask(f"{number}?", "1", {"level": level}) for number, level in enumerate(levels)]


def evaluated(records: list[Record], *scores: list[float]) -> Evaluation:
    items = [{"id": item_ids(one)[-1], "scores": given} for one, given in zip(records, scores, strict=True)]
    return Evaluation(items, {"pass@1": mean_interval(scores)})


def test_every_group_has_the_mean_of_its_items_and_the_groups_their_plain_mean() -> None:
    records = tasks(10, 2, 10, 10)
    found = grouped(evaluated(records, [1, 1], [0, 0], [1, 0], [0, 0]), group_of(records, "level"), "level", seed=0)
    assert list(found.values) == ["pass@1", "level=2", "level=10", "mean over level"]
    assert found.values["level=2"] == wilson(0, 1)
    assert found.values["level=10"].estimate == pytest.approx(0.5)
    assert found.values["mean over level"].estimate == pytest.approx(0.25)
    assert found.values["pass@1"].estimate == pytest.approx(0.375), "the whole weighs problems, not groups"
    assert [item["group"] for item in found.items] == ["10", "2", "10", "10"]
    assert found.extra == {"spread over level": pytest.approx(0.5 / 2**0.5)}


def test_pairs_and_solutions_are_found_by_what_is_judged() -> None:
    pair = PreferencePair("p", "good", "bad", meta={"subset": "chat"})
    steps = StepwiseSolution("p", ("a", "b"), (True, False), {"subset": "maths"})
    assert task_id("p", "good\0bad") in item_ids(pair)
    assert task_id("p", "a\nb\x001") in item_ids(steps)
    found = group_of([pair, steps], "subset")
    assert (found[task_id("p", "good\0bad")], found[task_id("p", "a\nb\x001")]) == ("chat", "maths")
    assert found[task_id("p", None)] is None, "the prompt alone belongs to two groups"


def test_items_without_a_group_are_counted_and_dropped_ones_leave_no_value() -> None:
    records = tasks(1, 2, 3)
    result = evaluated(records[:2], [1], [0])
    strange = Evaluation([*result.items, {"id": "unknown", "scores": [1]}], result.values)
    found = grouped(strange, group_of(records, "level"), "level", seed=0)
    assert set(found.values) == {"pass@1", "level=1", "level=2", "mean over level"}
    assert found.extra == {"ungrouped": 1, "spread over level": pytest.approx(0.5**0.5)}


def test_one_group_has_no_mean_of_groups() -> None:
    records = tasks("a", "a")
    found = grouped(evaluated(records, [1], [0]), group_of(records, "level"), "level", seed=0)
    assert set(found.values) == {"pass@1", "level=a"}


def test_scores_outside_the_unit_interval_have_no_invented_bounds() -> None:
    records = tasks("a", "a")
    found = grouped(evaluated(records, [7.0], [7.0]), group_of(records, "level"), "level", seed=0)
    assert found.values["level=a"].high == float("inf")


@pytest.mark.parametrize(
    ("records", "column", "message"),
    [
        (tasks(1, None), "level", "row 2 has no column level"),
        (tasks(1), "subset", "row 1 has no column subset"),
        (tasks(*range(MAX_GROUPS + 1)), "level", "groups are no grouping"),
    ],
)
def test_what_cannot_be_grouped_is_refused_before_anything_is_sampled(
    records: list[Record], column: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        group_of(records, column)


def test_the_mean_of_one_part_is_the_part() -> None:
    part = Interval(0.4, 0.3, 0.6, 10, "wilson")
    mean = mean_of([part])
    assert (mean.estimate, mean.low, mean.high, mean.n) == pytest.approx((0.4, 0.3, 0.6, 10))


@pytest.mark.parametrize("rates", [(0.5, 0.5, 0.5), (0.1, 0.5, 0.95), (0.97, 0.98, 0.02, 0.6)])
def test_the_interval_of_the_mean_covers_as_stated(rates: tuple[float, ...]) -> None:
    generator = np.random.default_rng(0)
    sizes = [20 + 15 * index for index in range(len(rates))]
    counts = np.stack([generator.binomial(n, p, size=4000) for n, p in zip(sizes, rates, strict=True)], axis=1)
    truth, covered = float(np.mean(rates)), 0
    for row in counts.tolist():
        interval = mean_of([wilson(hits, n) for hits, n in zip(row, sizes, strict=True)])
        covered += int(interval.low <= truth <= interval.high)
    assert 0.93 <= covered / len(counts) <= 0.97
