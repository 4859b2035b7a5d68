"""Advantages normalised over the rollout, and label-free ones, against NumPy: the papers' formulas written down plainly."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlllm.algorithms.advantages.confidence import LowEntropy, SelfCertainty, completion_mean, group_normalised
from rlllm.algorithms.advantages.gae import standardised
from rlllm.algorithms.advantages.reinforce_plus_plus import LitePPO, ReinforcePlusPlus, ReinforcePlusPlusBaseline
from rlllm.algorithms.batch import RolloutBatch
from rlllm.tools.selftest import formulas

NAN = math.nan
LENGTH = 4
ROWS = st.lists(
    st.tuples(
        st.floats(-10, 10, width=32) | st.just(NAN),
        st.lists(st.floats(-1, 1, width=32), min_size=LENGTH, max_size=LENGTH),
        st.integers(1, LENGTH),
    ),
    min_size=2,
    max_size=6,
)
SPREAD = st.lists(
    st.lists(st.integers(-5, 5).map(float) | st.just(NAN), min_size=3, max_size=3), min_size=1, max_size=4
)


def batch(rewards: list[float], lengths: list[int] | None = None, group_size: int = 1) -> RolloutBatch:
    """Rows of four tokens, of which the first `lengths` are real."""
    rows = len(rewards)
    ids = torch.ones(rows, LENGTH, dtype=torch.long)
    real = torch.arange(LENGTH) < torch.tensor(lengths or [LENGTH] * rows).unsqueeze(1)
    return RolloutBatch(
        prompt_ids=ids,
        prompt_mask=ids,
        completion_ids=ids,
        loss_mask=real.long(),
        group_size=group_size,
        rewards=torch.tensor(rewards).unsqueeze(1),
        weights=torch.ones(1),
        trl_advantages=torch.zeros(rows),
        extra_fields=[{} for _ in rewards],
    )


def flat_batch(groups: list[list[float]]) -> RolloutBatch:
    return batch([reward for group in groups for reward in group], group_size=len(groups[0]))


def close(computed: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(computed.numpy(), expected, atol=2e-3)


@given(ROWS)
def test_reinforce_plus_plus_is_the_whitened_reward_to_go(rows: list[tuple[float, list[float], int]]) -> None:
    made = replace(
        batch([row[0] for row in rows], [row[2] for row in rows]), kl_penalty=torch.tensor([row[1] for row in rows])
    )
    rewards, penalties = (np.array([row[place] for row in rows], dtype=np.float64) for place in (0, 1))
    mask = made.loss_mask.numpy()
    known = (mask > 0) & ~np.isnan(rewards)[:, None]
    later = np.cumsum((penalties * mask)[:, ::-1], axis=1)[:, ::-1]
    values = (rewards[:, None] - later)[known]
    if not len(values) or values.std() > 1e-3:  # below, float32 leaves nothing of the differences
        close(ReinforcePlusPlus()(made), formulas.reinforce_plus_plus(rewards, penalties, mask))


def test_without_a_kl_penalty_all_tokens_of_a_completion_have_one_advantage() -> None:
    advantages = ReinforcePlusPlus()(batch([1.0, 0.0, NAN], [2, 4, 3]))
    assert advantages[0, 0] == advantages[0, 1] > 0 > advantages[1, 0]
    assert (advantages[1] == advantages[1, 0]).all()
    assert advantages[0, 2:].tolist() == [0.0, 0.0]
    assert advantages[2].tolist() == [0.0] * 4


@given(SPREAD, st.data())
def test_reinforce_plus_plus_with_a_baseline_whitens_the_distance_from_the_group_mean_over_tokens(
    groups: list[list[float]], data: st.DataObject
) -> None:
    rows = sum(len(group) for group in groups)
    lengths = data.draw(st.lists(st.integers(1, LENGTH), min_size=rows, max_size=rows))
    made = batch([reward for group in groups for reward in group], lengths, group_size=len(groups[0]))
    expected = formulas.reinforce_plus_plus_baseline(np.array(groups), made.loss_mask.numpy())
    close(ReinforcePlusPlusBaseline()(made), expected)


def test_a_long_completion_moves_the_mean_of_reinforce_plus_plus_baseline_as_often_as_it_has_tokens() -> None:
    """By hand: values 0.5 on 3 tokens and -0.5 on 1 have mean 0.25 and deviation sqrt(3) / 4."""
    advantages = ReinforcePlusPlusBaseline()(batch([1.0, 0.0], [3, 1], group_size=2))
    assert advantages[0].tolist() == pytest.approx([3**-0.5] * 3 + [0.0], abs=1e-5)
    assert advantages[1].tolist() == pytest.approx([-(3**0.5), 0.0, 0.0, 0.0], abs=1e-5)


@given(SPREAD)
def test_lite_ppo_is_the_distance_from_the_group_mean_over_the_deviation_of_all_rewards(
    groups: list[list[float]],
) -> None:
    close(LitePPO()(flat_batch(groups)), formulas.lite_ppo(np.array(groups)).reshape(-1))


def test_a_flat_group_gets_nothing_from_lite_ppo_beside_a_mixed_one() -> None:
    advantages = LitePPO()(flat_batch([[1.0, 1.0], [0.0, 1.0]]))
    assert advantages.tolist() == pytest.approx([0.0, 0.0, -1.0, 1.0], abs=1e-3)


def test_a_rollout_nobody_could_judge_gives_zeros() -> None:
    made = flat_batch([[NAN, NAN], [NAN, NAN]])
    for advantage in (ReinforcePlusPlus(), ReinforcePlusPlusBaseline(), LitePPO()):
        assert not advantage(made).any()


@given(SPREAD)
def test_a_constant_added_to_every_reward_changes_no_advantage(groups: list[list[float]]) -> None:
    shifted = [[reward + 8 for reward in group] for group in groups]
    for advantage in (ReinforcePlusPlus(), ReinforcePlusPlusBaseline(), LitePPO()):
        torch.testing.assert_close(advantage(flat_batch(shifted)), advantage(flat_batch(groups)), atol=2e-3, rtol=0)


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=20))
def test_moments_are_numpys(values: list[float]) -> None:
    mask = torch.tensor([index % 3 > 0 for index in range(len(values))])
    mean, variance, count = flat_batch([[0.0, 1.0]]).moments(torch.tensor(values), mask)
    inside = np.array(values)[mask.numpy()]
    assert (mean.item(), variance.item()) == pytest.approx((inside.mean(), inside.var()), abs=1e-4)
    assert count == len(inside)


def test_standardised_values_have_mean_zero_and_deviation_one() -> None:
    torch.manual_seed(0)
    mask = torch.rand(8, 5) < 0.6
    values = standardised(flat_batch([[0.0, 1.0]]), torch.randn(8, 5) * 3 + 7, mask)[mask]
    assert (values.mean().item(), values.std(correction=0).item()) == pytest.approx((0.0, 1.0), abs=1e-5)


def measured(tokens: Tensor, lengths: list[int], group_size: int) -> RolloutBatch:
    """A rollout with these certainties, and entropies that mirror them."""
    made = flat_batch([[0.0] * group_size] * (len(tokens) // group_size))
    mask = (torch.arange(tokens.size(1)) < torch.tensor(lengths).unsqueeze(1)).long()
    return replace(made, loss_mask=mask, signals={"certainty": tokens, "entropies": 10 - tokens})


@given(st.lists(st.lists(st.integers(0, 9).map(float), min_size=3, max_size=3), min_size=4, max_size=4))
def test_confidence_is_the_group_normalised_mean_over_a_completions_tokens(rows: list[list[float]]) -> None:
    lengths = [3, 1, 2, 3]
    means = np.array([np.mean(row[:length]) for row, length in zip(rows, lengths, strict=True)]).reshape(2, 2)
    expected = formulas.group(means).reshape(-1)
    batch = measured(torch.tensor(rows), lengths, 2)
    close(SelfCertainty()(batch), expected)
    close(LowEntropy()(batch), expected)


def test_a_completion_that_may_not_learn_stands_in_no_statistic_of_confidence() -> None:
    rows = torch.tensor([[1.0, 1.0], [3.0, 3.0], [9.0, 9.0]])
    advantages = SelfCertainty()(measured(rows, [2, 2, 0], 3))
    assert advantages.tolist() == pytest.approx([-0.7071, 0.7071, 0.0], abs=1e-3)
    assert completion_mean(rows, torch.zeros(3, 2)).isnan().all()


def test_a_group_of_unknowns_gets_zeros() -> None:
    assert group_normalised(torch.tensor([[NAN, NAN], [NAN, 4.0]])).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_confidence_needs_the_signal_it_is_made_of() -> None:
    assert SelfCertainty().needs == ("certainty",)
    assert LowEntropy().needs == ("entropies",)
