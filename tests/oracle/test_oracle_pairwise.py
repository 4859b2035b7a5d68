"""Pairwise advantage against the losses it stands for: DPO's and IPO's gradients, by automatic differentiation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from first_update import Rollout, roll_out

from rlllm.algorithms.advantages.group import Group
from rlllm.algorithms.advantages.pairwise import Pairwise, pairwise
from rlllm.algorithms.methods.rl.online_dpo import METHOD as ONLINE_DPO
from rlllm.core.errors import ConfigError

NAN = math.nan
LOSSES = {
    "sigmoid": lambda h, beta: -torch.nn.functional.logsigmoid(beta * h),
    "ipo": lambda h, beta: (h - 1 / (2 * beta)) ** 2,
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_the_advantages_are_the_slope_of_the_loss(loss: str, beta: float) -> None:
    ratios = torch.tensor([[0.3, -2.0, 1.0], [5.0, 0.0, -4.0]], dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([[0.0, 1.0, 2.0], [3.0, NAN, 4.0]], dtype=torch.float64)
    h = torch.stack([ratios[0, 2] - ratios[0, 0], ratios[1, 2] - ratios[1, 0]])
    (expected,) = torch.autograd.grad(LOSSES[loss](h, beta).sum(), ratios)
    computed = pairwise(rewards, ratios.detach(), beta, loss)
    torch.testing.assert_close(computed, -3 * expected)


TABLE = [
    ([1.0, 3.0, 2.0], [-1, 1, 0]),
    ([3.0, 3.0, 1.0], [1, 0, -1]),
    ([1.0, 3.0, 1.0], [-1, 1, 0]),
    ([2.0, 2.0, 2.0], [0, 0, 0]),
    ([NAN, 1.0, 0.0], [0, 1, -1]),
    ([NAN, 1.0, NAN], [0, 0, 0]),
    ([NAN, NAN, NAN], [0, 0, 0]),
]


@pytest.mark.parametrize(("rewards", "signs"), TABLE)
def test_best_and_worst_are_pulled_apart_and_the_rest_is_left_alone(rewards: list[float], signs: list[int]) -> None:
    computed = pairwise(torch.tensor([rewards]), torch.zeros(1, 3), beta=0.1)
    assert computed[0].tolist() == pytest.approx([3 * 0.1 * 0.5 * sign for sign in signs])


@pytest.fixture
def rollout(tiny_model: str, tmp_path: Path) -> Rollout:
    return roll_out(tiny_model, tmp_path, ONLINE_DPO, Group())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_first_update_is_the_gradient_of_the_preference_loss(rollout: Rollout, loss: str) -> None:
    drawn = rollout.batch
    noise = torch.randn(drawn.completion_ids.shape, generator=torch.Generator().manual_seed(7))
    logps = torch.log_softmax(rollout.logits(), -1).gather(2, drawn.completion_ids.unsqueeze(2)).squeeze(2).detach()
    padding = drawn.loss_mask == 0
    batch = replace(drawn, signals={"logps": logps.masked_fill(padding, NAN), "ref_logps": logps + noise})
    ours = rollout.update(Pairwise(beta=0.5, loss=loss)(batch))
    reference = ((logps + noise) * drawn.loss_mask).sum(1).view(-1, 4)
    ratios = rollout.logps().view(-1, 4) - reference
    pairs = [(group.argmax(), group.argmin()) for group in drawn.group_rewards]
    h = torch.stack([row[best] - row[worst] for row, (best, worst) in zip(ratios, pairs, strict=True)])
    expected = rollout.gradient(LOSSES[loss](h, 0.5).mean())
    assert expected.norm() > 0.1
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-3)


def test_groups_without_two_different_rewards_leave_no_gradient(rollout: Rollout) -> None:
    flat = replace(
        rollout.batch,
        rewards=torch.full_like(rollout.batch.rewards, 0.5),
        signals=dict.fromkeys(("logps", "ref_logps"), torch.zeros(rollout.batch.completion_ids.shape)),
    )
    assert float(rollout.update(Pairwise()(flat)).norm()) == 0


@pytest.mark.parametrize("fields", [{"loss": "hinge"}, {"beta": 0.0}, {"beta": NAN}])
def test_fields_that_make_no_sense_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="pairwise"):
        Pairwise(**fields)  # type: ignore[arg-type]


def test_without_a_reference_model_it_says_what_is_missing(rollout: Rollout) -> None:
    with pytest.raises(ConfigError, match="reference"):
        Pairwise()(replace(rollout.batch, signals={"logps": rollout.batch.logps}))


def test_a_rollout_carries_what_the_credit_needs(tiny_model: str, tmp_path: Path) -> None:
    """At the start policy and reference are one model, so every pair has the slope at h = 0."""
    own = roll_out(tiny_model, tmp_path, ONLINE_DPO, Pairwise(beta=0.2))
    assert sorted(own.output["advantages"].tolist()) == pytest.approx([-0.4, -0.4, 0, 0, 0, 0, 0.4, 0.4], abs=1e-4)
