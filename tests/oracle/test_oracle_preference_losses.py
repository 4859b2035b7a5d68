"""Losses of CPO, SimPO, AlphaPO, ORPO, TPO and RRHF against the papers' formulas in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.preference.contrastive import completion_logps, contrastive_loss, negative_log_likelihood
from rlllm.algorithms.preference.cpo import alpha_reward, cpo_loss
from rlllm.algorithms.preference.orpo import log_odds_ratio, orpo_loss
from rlllm.algorithms.preference.rrhf import rrhf_loss
from rlllm.algorithms.preference.settings import CONTRASTIVE, CPOLossSettings, TPOLossSettings
from rlllm.algorithms.preference.tpo import tpo_loss
from rlllm.tools.selftest import formulas

LOGPS = np.random.default_rng(0).uniform(-4, -0.05, (2, 64))
CHOSEN, REJECTED = torch.tensor(LOGPS)
LENGTHS = (1, 3, 7)


@pytest.mark.parametrize("loss_type", CPOLossSettings.losses)
@pytest.mark.parametrize("alpha", [0.0, 0.25, -0.5])
def test_cpo(loss_type: str, alpha: float) -> None:
    settings = CPOLossSettings(loss_type=loss_type, simpo_gamma=0.7, alpha=alpha)
    chosen, rejected = formulas.alpha_reward(LOGPS, alpha)
    margin = 0.7 if loss_type in ("simpo", "alphapo") else 0.0
    expected = formulas.contrast(loss_type, chosen - rejected, 0.8, 0.1, margin)
    np.testing.assert_allclose(cpo_loss(CHOSEN, REJECTED, settings, 0.8, 0.1), expected, rtol=1e-12)


@pytest.mark.parametrize("loss_type", TPOLossSettings.losses)
def test_tpo(loss_type: str) -> None:
    settings = TPOLossSettings(loss_type=loss_type, tpo_l_gamma=0.7)
    expected = formulas.contrast(loss_type, LOGPS[0] - LOGPS[1], 0.8, 0.1, 0.7 if loss_type == "tpo-l" else 0.0)
    np.testing.assert_allclose(tpo_loss(CHOSEN, REJECTED, settings, 0.8, 0.1), expected, rtol=1e-12)


def test_orpo() -> None:
    ratio = formulas.log_odds_ratio(*LOGPS)
    np.testing.assert_allclose(log_odds_ratio(CHOSEN, REJECTED), ratio, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(orpo_loss(CHOSEN, REJECTED, 0.3), -0.3 * np.log(formulas.sigmoid(ratio)), rtol=1e-5)


def test_rrhf() -> None:
    np.testing.assert_allclose(rrhf_loss(CHOSEN, REJECTED), formulas.rrhf(*LOGPS), rtol=1e-12)


def test_a_pair_in_the_right_order_has_no_ranking_loss_and_no_gradient() -> None:
    sides = torch.tensor([[-1.0, -3.0], [-2.0, -1.0]], requires_grad=True)
    rrhf_loss(sides[0], sides[1]).sum().backward()
    assert sides.grad is not None
    assert sides.grad.tolist() == [[0.0, -1.0], [0.0, 1.0]]


def test_ragged_rows_are_summed_or_averaged_over_their_own_tokens() -> None:
    rows = [np.random.default_rng(length).uniform(-3, 0, length) for length in LENGTHS]
    log_probs, mask = torch.zeros(3, 9, dtype=torch.float64), torch.zeros(3, 9)
    for index, row in enumerate(rows):
        log_probs[index, 2 : 2 + len(row)] = torch.tensor(row)
        mask[index, 2 : 2 + len(row)] = 1
    expected = [row.sum() for row in rows]
    np.testing.assert_allclose(completion_logps(log_probs, mask, per_token=False), expected)
    np.testing.assert_allclose(completion_logps(log_probs, mask, per_token=True), np.divide(expected, LENGTHS))
    assert negative_log_likelihood(log_probs, mask).item() == pytest.approx(-np.concatenate(rows).mean())


@given(st.sampled_from(CONTRASTIVE), st.floats(-30, 0), st.floats(-30, 0), st.floats(0.01, 5))
def test_the_loss_of_a_pair_depends_on_the_difference_alone(
    loss_type: str, chosen: float, rejected: float, beta: float
) -> None:
    sides = torch.tensor([[chosen], [rejected]], dtype=torch.float64)
    here, there = (contrastive_loss(*(sides - by), loss_type=loss_type, beta=beta) for by in (0.0, 3.0))
    torch.testing.assert_close(here, there, rtol=1e-6, atol=1e-9)
    assert here.item() >= 0


@given(st.lists(st.tuples(st.floats(-20, -1e-3), st.floats(-20, -1e-3)), min_size=1, max_size=8))
def test_the_odds_ratio_is_antisymmetric_and_of_the_sign_of_the_difference(pairs: list[tuple[float, float]]) -> None:
    chosen, rejected = torch.tensor(pairs, dtype=torch.float64).T
    ratio = log_odds_ratio(chosen, rejected)
    torch.testing.assert_close(ratio, -log_odds_ratio(rejected, chosen))
    assert torch.all(ratio * (chosen - rejected) >= 0)
    assert torch.isfinite(ratio).all()


@given(st.floats(-700, 0), st.floats(-0.9, 0.9))
def test_alpha_rewards_are_finite_and_rise_with_the_probability(logp: float, alpha: float) -> None:
    less, more = alpha_reward(torch.tensor([logp - 1.0, logp], dtype=torch.float64), alpha).tolist()
    assert math.isfinite(less)
    assert less < more or math.isclose(less, more, rel_tol=1e-9)


@given(st.floats(-50, 0))
def test_at_a_small_alpha_the_reward_is_the_log_probability(logp: float) -> None:
    reward = alpha_reward(torch.tensor([logp], dtype=torch.float64), 1e-9).item()
    assert reward == pytest.approx(logp, rel=1e-6, abs=1e-6)
