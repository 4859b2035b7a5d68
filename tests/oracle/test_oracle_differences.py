"""The differences that docs/methods/differences.md names, each with its size, between rlllm and polgrad, verl or OpenRLHF."""

from __future__ import annotations

import math
from dataclasses import replace

import polgrad
import pytest
import torch
from polgrad.conformance._vendor import openrlhf_loss, verl_core_algos

from rlllm.algorithms.advantages.gae import standardised
from rlllm.algorithms.advantages.reinforce_plus_plus import ReinforcePlusPlus
from rlllm.algorithms.losses.base import LossInputs, aggregate, k3
from rlllm.algorithms.losses.dual_clip import DualClip
from rlllm.tools.selftest.check import Batch, batches
from rlllm.tools.selftest.own_parts import LONGEST, rollout_of

EMPTY = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
"""A mask whose second row has no token that learns."""


@pytest.fixture
def batch() -> Batch:
    return next(batches())


def test_whitened_advantages_are_divided_by_the_biased_deviation(batch: Batch) -> None:
    mask, values = torch.tensor(batch.mask), torch.tensor(batch.values)
    count = int(mask.sum())
    ours, theirs = standardised(rollout_of(batch), values, mask), polgrad.whiten(values, mask.bool())
    torch.testing.assert_close(ours, theirs * math.sqrt(count / (count - 1)), rtol=1e-7, atol=1e-7)


def test_reinforce_plus_plus_normalises_over_tokens_and_not_over_completions(batch: Batch) -> None:
    known = replace(batch, rewards=torch.tensor(batch.rewards).nan_to_num().numpy())
    rewards, mask = torch.tensor(known.rewards).view(-1), torch.tensor(batch.mask)
    ours = ReinforcePlusPlus()(rollout_of(known))
    over_tokens = standardised(rollout_of(known), rewards[:, None].expand_as(mask), mask)
    torch.testing.assert_close(ours.double(), over_tokens, rtol=1e-5, atol=1e-5)
    config = polgrad.ReinforcePPConfig(batch_norm=True)
    over_completions = polgrad.reinforce_pp_advantages(rewards, config=config)
    assert (ours[:, 0] - over_completions).abs().max() > 0.1


def test_a_completion_without_a_token_that_learns_counts_in_a_mean_over_completions() -> None:
    """As in TRL; verl and OpenRLHF leave it out, so theirs is twice as large here."""
    losses = torch.ones_like(EMPTY)
    for how in ("seq-mean-token-mean", "seq-mean-token-sum"):
        ours = aggregate(losses, EMPTY, how, tokens=2.0, longest=LONGEST)
        assert float(verl_core_algos.agg_loss(losses, EMPTY, how) / ours) == pytest.approx(2)
    ours = aggregate(losses, EMPTY, "seq-mean-token-mean", tokens=2.0, longest=LONGEST)
    assert float(openrlhf_loss.aggregate_loss(losses, EMPTY, False) / ours) == pytest.approx(2)


def test_dr_grpo_divides_by_the_length_limit_where_verl_divides_by_the_padded_width(batch: Batch) -> None:
    losses, mask = torch.tensor(batch.new), torch.tensor(batch.mask)
    ours = aggregate(losses, mask, "seq-mean-token-sum-norm", tokens=1.0, longest=LONGEST)
    theirs = verl_core_algos.agg_loss(losses, mask, "seq-mean-token-sum-norm")
    assert float(theirs / ours) == pytest.approx(LONGEST / mask.size(1))


def test_verl_holds_a_log_ratio_within_20_and_k3_within_10() -> None:
    far = torch.tensor([[-30.0]], dtype=torch.float64)
    assert float(k3(far, torch.zeros_like(far))) == pytest.approx(math.exp(30) - 31)
    assert float(verl_core_algos.kl_penalty(far, torch.zeros_like(far), "k3")) == 10
    ones, old = torch.ones(1, 1, dtype=torch.float64), far - 25
    given = LossInputs(old, -ones, ones)
    unbounded = DualClip(clip_ratio_c=1e30)(far, given)
    held = verl_core_algos.compute_policy_loss(old, far, -ones, ones, cliprange=0.2, clip_ratio_c=1e30)[0]
    assert (float(unbounded), float(held)) == pytest.approx((math.exp(25), math.exp(20)))


def test_verl_bounds_every_clipped_loss_at_3_where_here_it_is_the_loss_dual_clip() -> None:
    new, old = torch.tensor([[0.0]], dtype=torch.float64), torch.tensor([[-2.0]], dtype=torch.float64)
    ones = torch.ones(1, 1, dtype=torch.float64)
    theirs = verl_core_algos.compute_policy_loss(old, new, -ones, ones, cliprange=0.2)[0]
    assert float(theirs) == 3
    assert float(DualClip()(new, LossInputs(old, -ones, ones))) == 3
    assert float(openrlhf_loss.PolicyLoss()(new, old, -ones, ones)[0]) == pytest.approx(math.exp(2))
