"""Surrogates against NumPy, alone and as TRL forms its ratio of them; each is plain at its neutral setting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from rlllm.algorithms.losses.surrogates import GeometricMean, Given, Plain, Traces
from rlllm.core.errors import ConfigError

SHAPE = (3, 5)
LOGPS = arrays(np.float32, SHAPE, elements=st.floats(-8, 0, width=32))
ADVANTAGES = arrays(np.float32, (3, 1), elements=st.floats(-2, 2, width=32))


def situation(old: np.ndarray, advantages: np.ndarray, off_policy: Tensor | None = None) -> Given:
    everywhere = torch.tensor(advantages).expand(SHAPE)
    return Given(torch.tensor(old), everywhere, torch.ones(SHAPE), off_policy)


def loss_mask(values: np.ndarray) -> Tensor:
    return torch.tensor(values, requires_grad=True)


@given(LOGPS, LOGPS, ADVANTAGES)
def test_gmpo_is_the_geometric_mean_of_ratios_clipped_by_the_sign_of_the_advantage(
    new: np.ndarray, old: np.ndarray, advantages: np.ndarray
) -> None:
    given_ = situation(old, advantages)
    seen = GeometricMean(0.4)(loss_mask(new), given_)
    weights = torch.exp((seen - given_.old_logps).mean(1)).detach().numpy()  # TRL's weight at sequence level
    ratios = np.exp(new.astype(np.float64) - old)
    clipped = np.where(advantages > 0, np.minimum(ratios, math.exp(0.4)), np.maximum(ratios, math.exp(-0.4)))
    np.testing.assert_allclose(weights, clipped.prod(axis=1) ** (1 / SHAPE[1]), rtol=1e-4)


@given(LOGPS, ADVANTAGES, st.floats(-0.375, 0.375, width=32))
def test_gmpo_is_plain_to_the_bit_where_no_token_is_clipped(
    old: np.ndarray, advantages: np.ndarray, shift: float
) -> None:
    given_, logps = situation(old, advantages), loss_mask(old + np.float32(shift))
    assert torch.equal(GeometricMean(0.4)(logps, given_), Plain()(logps, given_))


def test_a_token_beyond_gmpos_band_has_no_gradient() -> None:
    logps = loss_mask(np.array([[-1.0, -2.0]], dtype=np.float32))
    given_ = Given(torch.tensor([[-2.0, -2.0]]), torch.tensor([[1.0, 1.0]]), torch.ones(1, 2))
    GeometricMean()(logps, given_).sum().backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [[0.0, 1.0]]
    against = Given(given_.old_logps, -given_.advantages, given_.mask)
    assert torch.equal(GeometricMean()(logps, against), logps)


@given(LOGPS, arrays(np.bool_, SHAPE), st.floats(0.01, 1))
def test_traces_have_the_ratio_p_over_p_plus_gamma_and_its_gradient(
    new: np.ndarray, off: np.ndarray, gamma: float
) -> None:
    logps = loss_mask(new)
    seen = Traces(gamma)(logps, situation(new, np.ones((3, 1), dtype=np.float32), torch.tensor(off)))
    p = np.exp(new.astype(np.float64))
    expected = np.where(off, p / (p + gamma), p)
    np.testing.assert_allclose(seen.exp().detach().numpy(), expected, rtol=1e-4)
    (gradient,) = torch.autograd.grad(seen.exp().sum(), logps)
    np.testing.assert_allclose(gradient.numpy(), np.where(off, p * gamma / (p + gamma) ** 2, p), rtol=1e-3)


def test_a_token_the_policy_thinks_impossible_still_has_a_finite_trace() -> None:
    logps = loss_mask(np.array([[-200.0]], dtype=np.float32))
    seen = Traces()(logps, Given(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1), torch.tensor([[True]])))
    seen.sum().backward()
    assert seen.item() == pytest.approx(-200 - math.log(0.1), abs=1e-3)
    assert logps.grad is not None
    assert logps.grad.item() == pytest.approx(1.0)


@given(LOGPS)
def test_traces_are_plain_to_the_bit_without_off_policy_tokens(new: np.ndarray) -> None:
    logps, ones = loss_mask(new), np.ones((3, 1), dtype=np.float32)
    for off in (None, torch.zeros(SHAPE, dtype=torch.bool)):
        given_ = situation(new, ones, off)
        assert torch.equal(Traces()(logps, given_), Plain()(logps, given_))


def test_surrogates_refuse_bounds_without_meaning() -> None:
    for make in (lambda: GeometricMean(0.0), lambda: Traces(-0.1)):
        with pytest.raises(ConfigError, match="is above 0"):
            make()
