"""Clip-Cov and KL-Cov against NumPy: which tokens covary, how many are taken, and what that does to the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.covariance import covariance, share
from rlllm.algorithms.losses.base import LossInputs
from rlllm.algorithms.losses.kl_cov import KLCov, largest
from rlllm.algorithms.masks.clip_cov import ClipCov
from rlllm.algorithms.masks.top_entropy import TopEntropy
from rlllm.core.errors import ConfigError
from rlllm.tools.selftest import formulas

SHAPE = (4, 6)
VALUES = arrays(np.float32, SHAPE, elements=st.floats(-5, 5, width=32))
MASKS = arrays(np.int64, SHAPE, elements=st.integers(0, 1))


def batch(logps: np.ndarray, advantages: np.ndarray, mask: np.ndarray) -> RolloutBatch:
    ones = torch.ones(SHAPE, dtype=torch.long)
    return RolloutBatch(
        prompt_ids=ones,
        prompt_mask=ones,
        completion_ids=ones,
        loss_mask=torch.tensor(mask),
        group_size=2,
        rewards=torch.zeros(4, 1),
        weights=torch.ones(1),
        trl_advantages=torch.zeros(4),
        extra_fields=[{}] * 4,
        signals={"logps": torch.tensor(logps)},
        advantages=torch.tensor(advantages),
    )


@given(VALUES, VALUES, MASKS)
def test_covariance_is_the_product_of_distances_from_the_means(
    logps: np.ndarray, advantages: np.ndarray, mask: np.ndarray
) -> None:
    if mask.any():
        computed = covariance(torch.tensor(logps), torch.tensor(advantages), torch.tensor(mask)).numpy()
        np.testing.assert_allclose(computed * mask, formulas.covariance(logps, advantages, mask), atol=1e-3)


@given(VALUES, arrays(np.float32, (4,), elements=st.floats(-5, 5, width=32)), st.floats(0, 1), MASKS)
def test_clip_cov_takes_at_most_its_share_and_only_out_of_the_band(
    logps: np.ndarray, advantages: np.ndarray, fraction: float, mask: np.ndarray
) -> None:
    made = batch(logps, advantages, mask)
    kept = ClipCov(fraction=fraction, low=1.0, high=5.0)(made)
    assert kept.dtype == made.loss_mask.dtype
    assert bool((kept <= made.loss_mask).all())
    dropped = (made.loss_mask - kept).numpy().astype(bool)
    if not mask.any():
        return
    values = formulas.covariance(logps, np.broadcast_to(advantages[:, None], SHAPE), mask)
    surely = int(((values > 1.01) & (values < 4.99)).sum())
    maybe = int(((values > 0.99) & (values < 5.01)).sum())
    allowed = max(1, int(fraction * mask.sum())) if fraction else 0
    assert min(allowed, surely) <= dropped.sum() <= min(allowed, maybe)
    assert ((values > 0.99) & (values < 5.01))[dropped].all()


@given(VALUES, VALUES)
def test_clip_cov_is_the_whole_mask_at_fraction_zero_and_outside_every_band(
    logps: np.ndarray, advantages: np.ndarray
) -> None:
    made = batch(logps, advantages, np.ones(SHAPE, dtype=np.int64))
    assert ClipCov(fraction=0.0)(made) is made.loss_mask
    assert ClipCov(fraction=1.0, low=1000.0, high=2000.0)(made) is made.loss_mask


def test_clip_cov_draws_from_the_global_generator() -> None:
    logps = np.linspace(-3, 0, 24, dtype=np.float32).reshape(SHAPE)
    made = batch(logps, logps * 3, np.ones(SHAPE, dtype=np.int64))
    mask = ClipCov(fraction=0.1, low=0.0, high=50.0)

    def drawn(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return mask(made).tolist()

    assert drawn(0) == drawn(0)
    assert len({str(drawn(seed)) for seed in range(5)}) > 1
    assert torch.tensor(drawn(0)).sum() == 22


def given_of(logps: Tensor, advantages: np.ndarray, mask: np.ndarray) -> LossInputs:
    return LossInputs(logps.detach() - 0.5, torch.tensor(advantages), torch.tensor(mask))


@given(VALUES, VALUES, MASKS, st.floats(0.01, 1))
def test_kl_cov_charges_the_tokens_of_largest_covariance(
    logps: np.ndarray, advantages: np.ndarray, mask: np.ndarray, fraction: float
) -> None:
    new = torch.tensor(logps, requires_grad=True)
    penalty = KLCov(beta=2.0, fraction=fraction).penalty(new, given_of(new, advantages, mask)).detach().numpy()
    charged = penalty > 0
    total = int(mask.sum())
    assert charged.sum() == (min(total, max(1, int(fraction * total))))
    np.testing.assert_allclose(penalty[charged], 2.0 * 0.5, rtol=1e-3)
    assert not charged[mask == 0].any()
    if 0 < charged.sum() < total:
        values = formulas.covariance(logps, advantages, mask)
        assert values[charged].min() >= values[(mask == 1) & ~charged].max() - 1e-3


def test_kl_cov_pulls_a_token_back_to_the_policy_that_sampled() -> None:
    new = torch.tensor([[-1.0, -3.0]], requires_grad=True)
    given_ = LossInputs(torch.tensor([[-2.0, -2.0]]), torch.tensor([[2.0, -2.0]]), torch.ones(1, 2))
    KLCov(beta=1.0, fraction=1.0).penalty(new, given_).sum().backward()
    assert new.grad is not None
    assert new.grad.tolist() == [[1.0, -1.0]]


@given(VALUES, VALUES, MASKS)
def test_kl_cov_is_the_unclipped_policy_gradient_loss_at_fraction_zero(
    logps: np.ndarray, advantages: np.ndarray, mask: np.ndarray
) -> None:
    new = torch.tensor(logps)
    inputs = given_of(new, advantages, mask)
    expected = -(np.exp(logps - inputs.old_logps.numpy())) * advantages
    np.testing.assert_allclose(KLCov(fraction=0.0)(new, inputs).numpy(), expected, rtol=1e-5)
    assert not KLCov(fraction=0.0).penalty(new, inputs).any()


@pytest.mark.parametrize(
    ("fraction", "tokens", "taken"), [(0.0, 10, 0), (2e-4, 10, 1), (0.25, 10, 2), (1.0, 10, 10), (0.5, 0, 0)]
)
def test_a_share_of_tokens_is_rounded_down_but_at_least_one(fraction: float, tokens: int, taken: int) -> None:
    assert share(fraction, torch.ones(tokens)) == taken


def test_the_largest_values_are_found_under_the_mask_alone() -> None:
    values = torch.tensor([[5.0, 1.0], [3.0, 9.0]])
    assert largest(values, torch.tensor([[1, 1], [1, 0]]), 2).tolist() == [[True, False], [True, False]]
    assert not largest(values, torch.ones(2, 2), 0).any()


def test_entropy_masks_are_settings_of_trl_and_leave_the_batch_alone() -> None:
    made = batch(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32), np.ones(SHAPE, dtype=np.int64))
    assert TopEntropy().trl_settings == {"top_entropy_quantile": 0.2}
    assert TopEntropy(0.1).trl_settings == {"top_entropy_quantile": 0.1}
    assert TopEntropy()(made) is made.loss_mask


def test_shares_and_bands_without_meaning_are_refused() -> None:
    for make in (
        lambda: ClipCov(fraction=1.5),
        lambda: ClipCov(low=2.0, high=2.0),
        lambda: KLCov(fraction=-0.1),
        lambda: TopEntropy(0.0),
    ):
        with pytest.raises(ConfigError):
            make()


def test_an_advantage_of_one_number_a_completion_counts_for_each_of_its_tokens() -> None:
    logps = np.linspace(-3, 0, 24, dtype=np.float32).reshape(SHAPE)
    rows = np.array([-2.0, 0.0, 1.0, 4.0], dtype=np.float32)
    made = batch(logps, rows, np.ones(SHAPE, dtype=np.int64))
    spelled = replace(made, advantages=torch.tensor(rows).unsqueeze(1).expand(SHAPE))
    mask = ClipCov(fraction=1.0, low=0.5, high=3.0)
    assert torch.equal(mask(made), mask(spelled))
