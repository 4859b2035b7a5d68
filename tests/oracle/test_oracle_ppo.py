"""PPO's parts against NumPy: GAE, whitening, value loss, KL controller, and the cases that reduce to simpler methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.algorithms.advantages.gae import GAE, gae, token_rewards
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.kl_controller import KLController, adapted
from rlllm.algorithms.ppo.critic import explained_variance, value_loss
from rlllm.core.errors import ConfigError
from rlllm.tools.selftest import formulas


def batch(
    total: list[float],
    lengths: list[int],
    values: torch.Tensor | None = None,
    penalty: torch.Tensor | None = None,
    width: int | None = None,
) -> RolloutBatch:
    width = width or max(lengths)
    rows = len(total)
    loss_mask = (torch.arange(width) < torch.tensor(lengths).unsqueeze(1)).long()
    empty = torch.zeros(rows, 1, dtype=torch.long)
    return RolloutBatch(
        prompt_ids=empty,
        prompt_mask=empty,
        completion_ids=torch.zeros(rows, width, dtype=torch.long),
        loss_mask=loss_mask,
        group_size=1,
        rewards=torch.tensor(total).unsqueeze(1),
        weights=torch.ones(1),
        trl_advantages=torch.zeros(rows),
        extra_fields=[{} for _ in total],
        signals={"values": torch.zeros(rows, width) if values is None else values},
        kl_penalty=penalty,
    )


shapes = st.integers(1, 4).flatmap(lambda rows: st.lists(st.integers(1, 7), min_size=rows, max_size=rows))


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(0, 1), st.floats(0, 1), st.integers(0, 3), st.integers(0, 1000))
def test_gae_is_the_sum_of_discounted_temporal_differences_whatever_the_padding(
    lengths: list[int], gamma: float, lam: float, extra: int, seed: int
) -> None:
    width = max(lengths) + extra
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, len(lengths), width, generator=generator, dtype=torch.float64)
    mask = torch.arange(width) < torch.tensor(lengths).unsqueeze(1)
    ours = gae(rewards, values, mask, gamma, torch.full((len(lengths),), lam))
    expected = formulas.gae(rewards.numpy(), values.numpy(), mask.numpy(), gamma, lam)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_without_values_and_with_lambda_and_gamma_one_it_is_reinforce_with_a_baseline() -> None:
    made = batch([1.0, 0.0, 2.0], [3, 2, 4])
    raw = GAE(gamma=1, lam=1, whiten=False)(made)
    assert torch.equal(raw, made.summed_reward.unsqueeze(1) * made.loss_mask)
    shifted = GAE(gamma=1, lam=1, whiten=True)(made)
    tokens = np.repeat([1.0, 0.0, 2.0], [3, 2, 4])
    expected = (tokens - tokens.mean()) / np.sqrt(tokens.var() + 1e-8)
    np.testing.assert_allclose(shifted[made.loss_mask.bool()], expected, rtol=1e-5)


def test_a_token_in_the_middle_that_may_not_learn_is_stepped_over() -> None:
    rewards = torch.tensor([[0.0, 9.0, 1.0]])
    values = torch.tensor([[0.5, 7.0, 0.25]])
    held = gae(rewards, values, torch.tensor([[1, 0, 1]]), 1.0, torch.ones(1))
    assert held.tolist() == [[0.5, 0.0, 0.75]]


def test_the_reward_stands_at_the_last_token_and_the_penalty_at_every_one() -> None:
    made = batch([2.0, -1.0], [2, 3], penalty=torch.tensor([[0.5, 0.25, 9.0], [0.1, 0.0, 0.2]]))
    expected = torch.tensor([[-0.5, 1.75, 0.0], [-0.1, 0.0, -1.2]])
    assert torch.allclose(token_rewards(made), expected)
    assert torch.allclose(made.kl_shaped_reward, torch.tensor([1.25, -1.3]))


def test_a_row_no_reward_could_judge_moves_neither_actor_nor_critic() -> None:
    values = torch.tensor([[0.3, 0.1], [0.2, 0.4]])
    alone, beside = batch([1.0], [2], values[:1]), batch([1.0, float("nan")], [2, 2], values)
    advantage = GAE()
    assert torch.equal(advantage(beside)[:1], advantage(alone))
    assert not advantage(beside)[1].any()
    assert torch.equal(advantage.value_targets(beside)[1], values[1])


def test_the_critics_lambda_is_its_own() -> None:
    values = torch.tensor([[0.3, -0.2, 0.6]])
    made = batch([1.0], [3], values)
    assert torch.allclose(GAE(critic_lam=1.0).value_targets(made), torch.ones(1, 3))
    one_step = GAE(critic_lam=0.0).value_targets(made)
    assert torch.allclose(one_step, torch.tensor([[-0.2, 0.6, 1.0]]))


def test_a_length_adaptive_lambda_grows_with_the_completion() -> None:
    advantage = GAE(length_alpha=0.5)
    lam = advantage._lambda(torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]))
    assert lam.tolist() == [0.0, 0.5]


def test_whitened_rewards_keep_their_mean() -> None:
    made = batch([2.0, 1.0], [2, 1], penalty=torch.tensor([[-1.0, -1.0, 9.0], [-4.0, 0.0, 0.0]]), width=3)
    plain = token_rewards(made)[made.loss_mask.bool()].numpy()
    whitened = GAE(whiten_rewards=True)._rewards(made)[made.loss_mask.bool()].numpy()
    assert whitened.mean() == pytest.approx(plain.mean())
    assert whitened.std() == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"lam": 1.1}, "lam is between"), ({"gamma": -0.1}, "gamma is between"), ({"length_alpha": 0}, "above 0")],
)
def test_settings_out_of_range_are_refused(fields: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GAE(**fields)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([None, 0.05, 0.2, 5.0]))
def test_the_value_loss_takes_the_larger_of_free_and_clipped_error(seed: int, clip: float | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    values, old, returns = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    mask = (torch.rand(4, 5, generator=generator) < 0.7).double()
    mask[0, 0] = 1
    expected = formulas.value_loss(values.numpy(), old.numpy(), returns.numpy(), mask.numpy(), clip)
    assert float(value_loss(values, old, returns, mask, clip)) == pytest.approx(expected)


def test_explained_variance_is_one_for_a_perfect_critic_and_zero_for_a_constant_one() -> None:
    returns, mask = torch.tensor([[1.0, 2.0, 4.0]]), torch.ones(1, 3)
    moments = masked_moments
    assert explained_variance(returns, returns, mask, moments) == pytest.approx(1.0)
    assert explained_variance(torch.zeros(1, 3), returns, mask, moments) == pytest.approx(0.0)
    assert explained_variance(torch.ones(1, 3), torch.ones(1, 3), mask, moments) == 0.0
    assert explained_variance(returns, returns, 0 * mask, moments) == 0.0


def masked_moments(values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, biased variance and number of the chosen values, as a rollout has them in one process."""
    chosen = values[mask.bool()]
    if not len(chosen):
        return torch.zeros(()), torch.zeros(()), torch.zeros(())
    return chosen.mean(), chosen.var(correction=0), torch.tensor(len(chosen))


@pytest.mark.parametrize(
    ("kl", "expected"), [(6.0, 0.1), (60.0, 0.1 * 1.02), (0.0, 0.1 * 0.98), (6.6, 0.1 * (1 + 0.1 * 0.1))]
)
def test_the_adaptive_coefficient_follows_ziegler_et_al(kl: float, expected: float) -> None:
    assert adapted(0.1, kl, 6.0, completions=200, horizon=2000) == pytest.approx(expected)


def test_the_adaptive_coefficient_keeps_its_sign_however_large_a_rollout() -> None:
    assert adapted(0.1, 0.0, 6.0, completions=600, horizon=100) == pytest.approx(0.1 * 0.8)


def test_a_fixed_coefficient_stays_and_an_adaptive_one_is_state() -> None:
    fixed, moving = KLController("loss", 0.1), KLController("reward", 0.1, target=1.0)
    for penalty in (fixed, moving):
        penalty.update(9.0, 100)
    assert fixed.coefficient == 0.1
    again = KLController("reward", 0.1, target=1.0)
    again.load_state_dict(moving.state_dict())
    assert again.coefficient == moving.coefficient > 0.1
