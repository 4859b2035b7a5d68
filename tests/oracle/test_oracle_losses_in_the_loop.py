"""Our own losses in the trainer: the gradient after the policy has moved away from its rollout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from first_update import Rollout, roll_out
from torch import Tensor

from rlllm.algorithms.advantages.group import Group
from rlllm.algorithms.covariance import covariance
from rlllm.algorithms.losses.base import LossInputs
from rlllm.algorithms.losses.dual_clip import DualClip
from rlllm.algorithms.losses.gmpo import GMPO
from rlllm.algorithms.losses.kl_cov import KLCov
from rlllm.algorithms.losses.luffy import LUFFY
from rlllm.algorithms.methods.base import Method
from rlllm.algorithms.methods.rl.gmpo import METHOD as GMPO_METHOD
from rlllm.algorithms.methods.rl.kl_cov import METHOD as KL_COV_METHOD
from rlllm.algorithms.methods.rl.luffy import METHOD as LUFFY_METHOD
from rlllm.algorithms.protocols import Loss


def moved_rollout(model: str, folder: Path, method: Method, loss: Loss) -> tuple[Rollout, Tensor, Tensor]:
    """A rollout whose old log-probabilities are up to one nat off; with (B, T) new ones and their log-ratios."""
    rollout = roll_out(model, folder, method, Group())
    rollout.trainer.slots = replace(rollout.trainer.slots, loss=loss)
    ids = rollout.batch.completion_ids.unsqueeze(2)
    logps = torch.log_softmax(rollout.logits(), -1).gather(2, ids).squeeze(2)
    torch.manual_seed(1)
    off = torch.rand(logps.shape) * 2 - 1
    rollout.output["old_per_token_logps"] = (logps - off).detach()
    return rollout, logps, logps - rollout.output["old_per_token_logps"]


def same_update(rollout: Rollout, loss: Tensor) -> None:
    """The loop may have run a part of the backward pass already, so its gradient is what the parameters hold in the end."""
    expected, trainer = rollout.gradient(loss), rollout.trainer
    trainer.model.train().zero_grad()
    trainer._compute_loss(trainer.model, rollout.output).backward()
    found = torch.cat([weights.grad.flatten() for weights in trainer.model.parameters()])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_the_gmpo_loss_is_minus_the_advantage_times_the_geometric_mean(tiny_model: str, tmp_path: Path) -> None:
    rollout, _, log_ratios = moved_rollout(tiny_model, tmp_path, GMPO_METHOD, GMPO(0.4))
    mask, advantages = rollout.batch.loss_mask, rollout.output["advantages"]
    column = advantages.unsqueeze(1)
    clipped = torch.where(column > 0, log_ratios.clamp(max=0.4), log_ratios.clamp(min=-0.4))
    assert not torch.equal(clipped, log_ratios)
    weights = ((clipped * mask).sum(1) / mask.sum(1)).exp()
    same_update(rollout, -(weights * advantages).mean())


def test_the_kl_term_is_k3_weighted_by_the_ratio_of_each_token(tiny_model: str, tmp_path: Path) -> None:
    rollout, logps, log_ratios = moved_rollout(tiny_model, tmp_path, GMPO_METHOD, GMPO(0.4))
    mask, advantages = rollout.batch.loss_mask, rollout.output["advantages"]
    away = torch.linspace(-1, 1, logps.size(1)) + logps.detach() - logps
    rollout.output["ref_per_token_logps"], rollout.trainer.beta = (away + logps).detach(), 0.3
    clipped = torch.where(advantages.unsqueeze(1) > 0, log_ratios.clamp(max=0.4), log_ratios.clamp(min=-0.4))
    weights = ((clipped * mask).sum(1) / mask.sum(1)).exp()
    kl = ((away.exp() - away - 1) * log_ratios.exp() * mask).sum(1) / mask.sum(1)
    same_update(rollout, (0.3 * kl - advantages * weights).mean())


def test_the_kl_cov_loss_adds_the_log_ratio_of_the_tokens_of_largest_covariance(
    tiny_model: str, tmp_path: Path
) -> None:
    rollout, logps, log_ratios = moved_rollout(tiny_model, tmp_path, KL_COV_METHOD, KLCov(beta=0.5, fraction=0.2))
    mask = rollout.batch.loss_mask
    column = rollout.output["advantages"].unsqueeze(1)
    values = covariance(logps.detach(), column, mask).masked_fill(mask == 0, -torch.inf)
    bound = values.flatten().sort(descending=True).values[int(0.2 * mask.sum()) - 1]
    losses = -log_ratios.exp() * column + 0.5 * log_ratios.abs() * (values >= bound)
    same_update(rollout, (losses * mask).sum() / mask.sum())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_luffy_loss_takes_p_over_p_plus_gamma_for_the_ratio_of_demonstrations(
    tiny_model: str, tmp_path: Path, sign: float
) -> None:
    rollout, logps, log_ratios = moved_rollout(tiny_model, tmp_path, LUFFY_METHOD, LUFFY(0.1))
    mask, row = rollout.batch.loss_mask, torch.arange(8).unsqueeze(1) % 4 == 3
    rollout.output["off_policy"] = (row & mask.bool()).clone()
    rollout.output["advantages"] = rollout.output["advantages"] * sign
    ratios = torch.where(row, logps.exp() / (logps.exp() + 0.1), log_ratios.exp())
    losses = -ratios * rollout.output["advantages"].unsqueeze(1)
    same_update(rollout, (losses * mask).sum() / (8 * 6))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_dual_clip_bounds_the_loss_of_negative_advantages(tiny_model: str, tmp_path: Path, sign: float) -> None:
    loss = DualClip(clip_ratio_low=0.1, clip_ratio_high=0.1, clip_ratio_c=1.3)
    rollout, _, log_ratios = moved_rollout(tiny_model, tmp_path, GMPO_METHOD, loss)
    rollout.output["advantages"] = rollout.output["advantages"] * sign
    mask, column = rollout.batch.loss_mask, rollout.output["advantages"].unsqueeze(1)
    ratios = log_ratios.exp()
    clipped = torch.maximum(-ratios * column, -ratios.clamp(0.9, 1.1) * column)
    losses = torch.where(column < 0, torch.minimum(clipped, -1.3 * column), clipped)
    assert bool(((column < 0) & (ratios > 1.3)).any())
    same_update(rollout, (losses * mask).sum() / mask.sum())


def test_a_loss_reads_the_signals_it_needs_in_every_micro_batch(tiny_model: str, tmp_path: Path) -> None:
    class Weighted(Loss):
        """The policy gradient loss, weighted by the entropy at the time of sampling."""

        needs = ("entropies",)

        def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
            return -logps * inputs.advantages * inputs.signals["entropies"]

    rollout, logps, _ = moved_rollout(tiny_model, tmp_path, GMPO_METHOD, Weighted())
    entropies = -(torch.log_softmax(rollout.logits(), -1).exp() * torch.log_softmax(rollout.logits(), -1)).sum(-1)
    rollout.output["signal/entropies"] = entropies.detach()
    mask, column = rollout.batch.loss_mask, rollout.output["advantages"].unsqueeze(1)
    same_update(rollout, (-logps * column * entropies.detach() * mask).sum() / mask.sum())
