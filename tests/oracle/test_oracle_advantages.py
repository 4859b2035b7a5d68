"""Advantage and masks against plain Python: what each paper's formula says, written down without tensors."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlllm.algorithms.advantages.group import Group, LeaveOneOut, leave_one_out
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.masks.all_tokens import AllTokens
from rlllm.algorithms.masks.random_tokens import RandomTokens
from rlllm.algorithms.samplers.order import InOrder, Shuffle
from rlllm.tools.selftest import formulas

NAN = math.nan
REWARDS = st.floats(-100, 100, width=32) | st.just(NAN)
GROUPS = st.integers(2, 6).flatmap(
    lambda size: st.lists(st.lists(REWARDS, min_size=size, max_size=size), min_size=1, max_size=5)
)
KNOWN_GROUPS = st.integers(2, 6).flatmap(
    lambda size: st.lists(
        st.lists(st.floats(-100, 100, width=32), min_size=size, max_size=size), min_size=1, max_size=5
    )
)


TABLE = [
    ([1.0, 0.0], [1.0, -1.0]),
    ([1.0, 0.0, 0.0, 1.0], [2 / 3, -2 / 3, -2 / 3, 2 / 3]),
    ([3.0, 3.0, 3.0], [0.0, 0.0, 0.0]),
    ([1.0, NAN, 0.0], [1.0, 0.0, -1.0]),
    ([5.0, NAN, NAN], [0.0, 0.0, 0.0]),
    ([NAN, NAN], [0.0, 0.0]),
]


@pytest.mark.parametrize(("rewards", "advantages"), TABLE)
def test_leave_one_out_of_a_few_groups(rewards: list[float], advantages: list[float]) -> None:
    assert leave_one_out(torch.tensor([rewards]))[0].tolist() == pytest.approx(advantages)
    assert formulas.leave_one_out(np.array([rewards]))[0].tolist() == pytest.approx(advantages)


@given(GROUPS)
def test_leave_one_out_equals_the_formula(groups: list[list[float]]) -> None:
    np.testing.assert_allclose(leave_one_out(torch.tensor(groups)), formulas.leave_one_out(np.array(groups)), atol=1e-3)


@given(GROUPS, st.randoms(use_true_random=False))
def test_leave_one_out_does_not_care_about_the_order_in_a_group(groups: list[list[float]], random: Random) -> None:
    size = len(groups[0])
    order = sorted(range(size), key=lambda _: random.random())
    rewards = torch.tensor(groups)
    torch.testing.assert_close(leave_one_out(rewards[:, order]), leave_one_out(rewards)[:, order], atol=1e-3, rtol=0)


@given(GROUPS, st.floats(-50, 50, width=32))
def test_leave_one_out_does_not_care_about_a_constant(groups: list[list[float]], shift: float) -> None:
    rewards = torch.tensor(groups)
    torch.testing.assert_close(leave_one_out(rewards + shift), leave_one_out(rewards), atol=1e-3, rtol=0)


@given(KNOWN_GROUPS)
def test_leave_one_out_sums_to_zero_when_every_reward_is_known(groups: list[list[float]]) -> None:
    sums = leave_one_out(torch.tensor(groups)).sum(dim=1)
    torch.testing.assert_close(sums, torch.zeros_like(sums), atol=1e-2, rtol=0)


@given(KNOWN_GROUPS)
def test_leave_one_out_is_the_centred_reward_scaled_by_the_group(groups: list[list[float]]) -> None:
    rewards = torch.tensor(groups)
    size = rewards.size(1)
    centred = (rewards - rewards.mean(dim=1, keepdim=True)) * size / (size - 1)
    torch.testing.assert_close(leave_one_out(rewards), centred, atol=1e-3, rtol=0)


def batch(rewards: Tensor, weights: list[float], group_size: int, loss_mask: Tensor | None = None) -> RolloutBatch:
    rows = rewards.size(0)
    ones = torch.ones(rows, 3, dtype=torch.long)
    return RolloutBatch(
        prompt_ids=ones,
        prompt_mask=ones,
        completion_ids=ones,
        loss_mask=ones if loss_mask is None else loss_mask,
        group_size=group_size,
        rewards=rewards,
        weights=torch.tensor(weights),
        trl_advantages=torch.arange(rows, dtype=torch.float),
        extra_fields=[{} for _ in range(rows)],
    )


def test_a_total_is_the_weighted_sum_of_the_rewards_that_judged() -> None:
    rewards = torch.tensor([[1.0, 10.0], [NAN, 10.0], [1.0, NAN], [NAN, NAN]])
    total = batch(rewards, [1.0, 0.5], 2).summed_reward
    assert total[:3].tolist() == [6.0, 5.0, 1.0]
    assert total[3].isnan()


def test_leave_one_out_works_on_weighted_totals() -> None:
    rewards = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 0.0], [0.0, 0.0]])
    assert LeaveOneOut()(batch(rewards, [1.0, 0.5], 2)).tolist() == [0.0, 0.0, 4.0, -4.0]


def test_the_group_advantage_is_what_trl_computed() -> None:
    made = batch(torch.zeros(4, 1), [1.0], 2)
    assert Group()(made) is made.trl_advantages


MASKS = st.lists(st.lists(st.integers(0, 1), min_size=7, max_size=7), min_size=1, max_size=6)


@given(MASKS, st.floats(0, 1))
def test_a_mask_is_a_subset_of_what_may_learn(given_mask: list[list[int]], fraction: float) -> None:
    loss_mask = torch.tensor(given_mask)
    made = batch(torch.zeros(len(given_mask), 1), [1.0], 1, loss_mask)
    for mask in (AllTokens()(made), RandomTokens(fraction)(made)):
        assert mask.shape == loss_mask.shape
        assert mask.dtype == loss_mask.dtype
        assert bool((mask <= loss_mask).all())
        assert set(mask.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.75, 1.0])
def test_the_random_mask_keeps_about_its_share(fraction: float) -> None:
    torch.manual_seed(0)
    loss_mask = torch.ones(200, 100, dtype=torch.long)
    kept = RandomTokens(fraction)(batch(torch.zeros(200, 1), [1.0], 1, loss_mask))
    assert kept.float().mean().item() == pytest.approx(fraction, abs=0.02)


@given(rows=st.integers(0, 40), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 50))
@settings(max_examples=50)
def test_an_epoch_visits_every_prompt_once_in_an_order_of_its_own(rows: int, seed: int, epoch: int) -> None:
    order = Shuffle()(rows, seed, epoch)
    assert sorted(order) == InOrder()(rows, seed, epoch) == list(range(rows))
    assert order == Shuffle()(rows, seed, epoch)
    if rows > 12:
        assert order != Shuffle()(rows, seed, epoch + 1)
        assert order != Shuffle()(rows, seed + 1, epoch)
