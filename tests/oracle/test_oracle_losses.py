"""Our own losses against NumPy, and each at the setting at which it is another one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from rlllm.algorithms.losses.base import AGGREGATIONS, LossInputs, aggregate, k3
from rlllm.algorithms.losses.dual_clip import DualClip
from rlllm.algorithms.losses.gmpo import GMPO
from rlllm.algorithms.losses.luffy import LUFFY
from rlllm.core.errors import ConfigError
from rlllm.tools.selftest import formulas

SHAPE = (3, 5)
LOGPS = arrays(np.float32, SHAPE, elements=st.floats(-8, 0, width=32))
ADVANTAGES = arrays(np.float32, (3, 1), elements=st.floats(-2, 2, width=32))
MASKS = arrays(np.int64, SHAPE, elements=st.integers(0, 1))


def inputs_of(old: np.ndarray, advantages: np.ndarray, off_policy: Tensor | None = None) -> LossInputs:
    return LossInputs(torch.tensor(old), torch.tensor(advantages), torch.ones(SHAPE), off_policy)


def learning(values: np.ndarray) -> Tensor:
    return torch.tensor(values, requires_grad=True)


@given(LOGPS, LOGPS, ADVANTAGES)
def test_gmpo_is_the_geometric_mean_of_ratios_clipped_by_the_sign_of_the_advantage(
    new: np.ndarray, old: np.ndarray, advantages: np.ndarray
) -> None:
    losses = GMPO(0.4)(learning(new), inputs_of(old, advantages)).detach().numpy()
    expected = formulas.gmpo(new.astype(np.float64), old, np.ones(SHAPE), advantages, 0.4)[:, :1]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-6)


def test_a_token_beyond_gmpos_band_has_no_gradient() -> None:
    logps = learning(np.array([[-1.0, -2.0]], dtype=np.float32))
    inputs = LossInputs(torch.tensor([[-2.0, -2.0]]), torch.tensor([[1.0]]), torch.ones(1, 2))
    GMPO()(logps, inputs).sum().backward()
    assert logps.grad is not None
    assert logps.grad[0, 0] == 0.0
    assert logps.grad[0, 1] != 0.0
    against = LossInputs(inputs.old_logps, -inputs.advantages, inputs.mask)
    assert torch.equal(GMPO().clipped(logps, against), logps - inputs.old_logps)


@given(LOGPS, arrays(np.bool_, SHAPE), st.floats(0.01, 1))
def test_luffy_has_the_ratio_p_over_p_plus_gamma_and_its_gradient(
    new: np.ndarray, off: np.ndarray, gamma: float
) -> None:
    logps, ones = learning(new), np.ones((3, 1), dtype=np.float32)
    weights = -LUFFY(gamma)(logps, inputs_of(np.zeros(SHAPE, dtype=np.float32), ones, torch.tensor(off)))
    p = np.exp(new.astype(np.float64))
    expected = formulas.luffy(np.log(p), np.zeros(SHAPE), off, -ones, gamma)
    np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=1e-4)
    (gradient,) = torch.autograd.grad(weights.sum(), logps)
    np.testing.assert_allclose(gradient.numpy(), np.where(off, p * gamma / (p + gamma) ** 2, p), rtol=1e-3)


def test_a_token_the_policy_thinks_impossible_still_has_a_finite_weight() -> None:
    logps = learning(np.array([[-200.0]], dtype=np.float32))
    inputs = LossInputs(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1), torch.tensor([[True]]))
    weights = LUFFY().log_weights(logps, inputs)
    weights.sum().backward()
    assert weights.item() == pytest.approx(-200 - math.log(0.1), abs=1e-3)
    assert logps.grad is not None
    assert logps.grad.item() == pytest.approx(1.0)


@given(LOGPS, LOGPS)
def test_luffy_is_the_unclipped_policy_gradient_loss_without_off_policy_tokens(
    new: np.ndarray, old: np.ndarray
) -> None:
    ones = np.ones((3, 1), dtype=np.float32)
    for off in (None, torch.zeros(SHAPE, dtype=torch.bool)):
        losses = LUFFY()(learning(new), inputs_of(old, ones, off)).detach().numpy()
        np.testing.assert_allclose(losses, -np.exp(new - old), rtol=1e-5)


@given(LOGPS, LOGPS, ADVANTAGES, st.floats(1.1, 5))
def test_dual_clip_is_ppos_clip_with_a_bound_where_the_advantage_is_negative(
    new: np.ndarray, old: np.ndarray, advantages: np.ndarray, bound: float
) -> None:
    ratio = np.exp(new.astype(np.float64) - old)
    expected = formulas.dual_clip(ratio, advantages, 0.2, 0.3, bound)
    loss = DualClip(clip_ratio_high=0.3, clip_ratio_c=bound)
    losses = loss(learning(new), inputs_of(old, advantages)).detach().numpy()
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-6)


@given(LOGPS, LOGPS)
def test_k3_is_never_negative(new: np.ndarray, ref: np.ndarray) -> None:
    estimate = k3(torch.tensor(new).double(), torch.tensor(ref).double()).numpy()
    np.testing.assert_allclose(estimate, formulas.k3(new.astype(np.float64), ref), atol=1e-9)
    assert (estimate >= -1e-12).all()


@given(LOGPS, MASKS)
def test_aggregations_are_those_of_numpy(losses: np.ndarray, mask: np.ndarray) -> None:
    for how in AGGREGATIONS:
        computed = aggregate(torch.tensor(losses), torch.tensor(mask), how, tokens=40.0, longest=7)
        assert computed.item() == pytest.approx(formulas.aggregated(losses, mask, how, 40.0, 7), rel=1e-4, abs=1e-5)


def test_an_unknown_aggregation_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown aggregation: mean"):
        aggregate(torch.ones(1, 1), torch.ones(1, 1), "mean", tokens=1.0, longest=1)


def test_bounds_without_meaning_are_refused() -> None:
    for make in (lambda: GMPO(0.0), lambda: LUFFY(-0.1), lambda: DualClip(clip_ratio_c=1.0)):
        with pytest.raises(ConfigError, match="above"):
            make()
