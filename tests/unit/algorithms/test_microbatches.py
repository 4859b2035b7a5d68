"""Cutting a micro-batch into parts: nothing lost, nothing doubled, cheap rows together, and shares that add up."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.cpu.microbatches import Costs, partition
from rlllm.algorithms.loss_computation import has_gradient, loss_share, merged
from rlllm.algorithms.tensor_dict import take_rows

rows = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5)), min_size=1, max_size=200)


def cost(parts: list[list[int]], lengths: list[int], prompts: list[int], costs: Costs) -> float:
    return sum(
        len(part) * max(lengths[row] for row in part)
        + costs.prefix * len({prompts[row] for row in part})
        + costs.overhead
        for part in parts
    )


@given(rows, st.integers(0, 2000), st.integers(0, 50))
def test_every_row_is_in_exactly_one_part_and_no_single_part_would_be_cheaper(
    drawn: list[tuple[int, int]], overhead: int, prefix: int
) -> None:
    lengths, prompts = [length for length, _ in drawn], [prompt for _, prompt in drawn]
    costs = Costs(overhead, prefix)
    parts = partition(lengths, prompts, costs)
    assert sorted(row for part in parts for row in part) == list(range(len(drawn)))
    whole = [list(range(len(drawn)))]
    assert cost(parts, lengths, prompts, costs) <= cost(whole, lengths, prompts, costs)


@given(rows, st.integers(1, 2000))
def test_no_part_is_larger_than_allowed_unless_it_is_one_row(drawn: list[tuple[int, int]], largest: int) -> None:
    lengths = [length for length, _ in drawn]
    for part in partition(lengths, [0] * len(lengths), Costs(10, largest=largest)):
        assert len(part) == 1 or len(part) * max(lengths[row] for row in part) <= largest


@given(st.lists(st.integers(1, 300), min_size=1, max_size=10), st.integers(0, 300))
def test_a_cut_of_few_rows_is_the_cheapest_of_all_cuts_by_length(lengths: list[int], overhead: int) -> None:
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    best = float("inf")
    for bits in range(2 ** (len(lengths) - 1)):
        places = [0, *(i + 1 for i in range(len(lengths) - 1) if bits >> i & 1), len(lengths)]
        parts = [order[first:last] for first, last in pairwise(places)]
        best = min(best, cost(parts, lengths, [0] * len(lengths), Costs(overhead)))
    found = partition(lengths, [0] * len(lengths), Costs(overhead))
    assert cost(found, lengths, [0] * len(lengths), Costs(overhead)) == best


def test_rows_of_one_prompt_stay_together_where_the_prompt_is_what_costs() -> None:
    lengths, prompts = [10, 9, 10, 9], [0, 1, 0, 1]
    assert sorted(map(sorted, partition(lengths, prompts, Costs(1, prefix=500, largest=20)))) == [[0, 2], [1, 3]]


def test_long_rows_are_parted_from_short_ones() -> None:
    assert sorted(map(sorted, partition([5, 250, 6, 240], [0] * 4, Costs(16)))) == [[0, 2], [1, 3]]


def test_a_row_has_a_gradient_if_a_token_that_learns_has_an_advantage() -> None:
    mask = torch.tensor([[1, 1], [1, 0], [0, 0], [1, 1]])
    assert has_gradient(torch.tensor([0.5, -0.5, 0.5, 0.0]), mask).tolist() == [True, True, False, False]
    assert has_gradient(torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), mask).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_taking_rows_leaves_what_is_not_one_entry_a_row() -> None:
    inputs = {"completion_ids": torch.arange(6).view(3, 2), "advantages": torch.arange(3.0), "num": torch.tensor(7.0)}
    part = take_rows(inputs, torch.tensor([2, 0]))
    assert part["completion_ids"].tolist() == [[4, 5], [0, 1]]
    assert part["advantages"].tolist() == [2.0, 0.0]
    assert part["num"] == 7.0


SHARES = [
    ("seq-mean-token-mean", 0.25),
    ("seq-mean-token-sum", 0.25),
    ("seq-mean-token-sum-norm", 0.25),
    ("micro-batch-token-mean", 0.4),
    ("token-mean", 1.0),
]


@pytest.mark.parametrize(("aggregation", "expected"), SHARES)
def test_the_share_of_a_part_is_what_the_loss_is_a_mean_over(aggregation: str, expected: float) -> None:
    whole = torch.tensor([[1, 1], [1, 0], [1, 0], [1, 0]])
    assert loss_share(aggregation, whole[:1], whole) == pytest.approx(expected)


def test_logged_values_of_parts_become_one() -> None:
    assert merged("entropy", [1.0, 3.0], [3.0, 1.0]) == 1.5
    assert merged("clip_ratio/low_min", [0.2, 0.1], [3.0, 1.0]) == 0.1
    assert merged("clip_ratio/high_max", [0.2, 0.1], [3.0, 1.0]) == 0.2
    assert merged("kl", [float("nan"), 2.0], [3.0, 1.0]) == 2.0
