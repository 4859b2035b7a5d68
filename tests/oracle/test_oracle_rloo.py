"""The method `rloo` as it ships is TRL's RLOOTrainer: loss and every gradient, on a rollout and after the policy has moved.

The reference model is another one than the policy, so that the KL term in the reward is at work; completions are ragged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fed_trainers import GROUP, LENGTHS, fed_loop, learning, rloo_trainer, rows, save_llama
from torch import Tensor

from rlllm.algorithms.components import SlotSpec, component
from rlllm.algorithms.kl_controller import KLController
from rlllm.algorithms.losses.base import LossInputs
from rlllm.algorithms.losses.rloo import RLOO
from rlllm.algorithms.methods.rl.rloo import METHOD
from rlllm.algorithms.rl_trainer import RLTrainer

TOLERANCE = 1e-6
SETTINGS: dict[str, Any] = {"beta": METHOD.settings["beta"], "epsilon": METHOD.settings["epsilon"]}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


def shipped(model: str, folder: Path, **settings: Any) -> RLTrainer:
    """The loop with the method's own components and settings."""
    slots = {slot: component(slot, SlotSpec(name=name)) for slot, name in METHOD.components.items()}
    kl = KLController(METHOD.defaults["kl"]["where"], METHOD.settings["beta"])
    return fed_loop(model, folder, {**METHOD.settings, **settings}, dtype=torch.float64, kl=kl, **slots)


@torch.no_grad()
def away_from_reference(model: Any) -> None:
    """Move the policy, so that its KL to the reference model is not 0."""
    draw = torch.Generator().manual_seed(29)
    for parameter in learning(model).values():
        parameter += 0.02 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)


def updates(trainer: Any, count: int) -> list[tuple[float, dict[str, Tensor]]]:
    """Loss and gradients of updates on one rollout, each followed by a step of descent."""
    away_from_reference(trainer.model)
    batch = [row for row in rows() for _ in range(GROUP)]
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    found = []
    for _ in range(count):
        loss = 0.0
        for _ in range(trainer.args.gradient_accumulation_steps):
            torch.manual_seed(23)  # TRL shuffles the rows of a rollout
            loss += float(trainer.training_step(trainer.model, batch, None))
        gradients = {name: p.grad.clone() for name, p in learning(trainer.model).items() if p.grad is not None}
        found.append((loss, gradients))
        norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
        for name, parameter in learning(trainer.model).items():
            parameter.data -= 0.05 * gradients[name] / norm
        trainer.model.zero_grad()
    return found


SCHEDULES: dict[str, dict[str, Any]] = {
    "two passes over a rollout": {"num_iterations": 2},
    "micro-batches": {"num_iterations": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    "two steps a rollout": {"per_device_train_batch_size": 8, "steps_per_generation": 2},
}


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_loss_and_gradients_are_those_of_trls_rloo_trainer(llama: str, tmp_path: Path, schedule: str) -> None:
    theirs = updates(rloo_trainer(llama, tmp_path, {**SETTINGS, **SCHEDULES[schedule]}), 2)
    loop = shipped(llama, tmp_path, **SCHEDULES[schedule])
    loop.fast_path = None  # the passes of TRL: both round alike
    for (ours, found), (loss, expected) in zip(updates(loop, 2), theirs, strict=True):
        assert ours == pytest.approx(loss, rel=TOLERANCE, abs=TOLERANCE)
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=TOLERANCE)
        assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0.1


def test_the_second_update_is_off_policy_and_meets_the_clip(llama: str, tmp_path: Path) -> None:
    loop, ratios = shipped(llama, tmp_path, num_iterations=2), []
    loss = loop.slots.loss

    class Seen(RLOO):
        def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
            ratios.append(((logps - inputs.old_logps) * inputs.mask).sum(1).exp().detach())
            return loss(logps, inputs)

    loop.slots = type(loop.slots)(**{**vars(loop.slots), "loss": Seen()})
    loop.fast_path = None
    updates(loop, 2)
    first, second = ratios
    assert torch.allclose(first, torch.ones(len(first)), atol=1e-4)
    assert 0 < int(((second > 1.2) | (second < 0.8)).sum()) < len(second) <= len(LENGTHS)


def test_the_loss_sums_over_tokens_where_grpo_takes_their_mean() -> None:
    logps = torch.tensor([[-1.0, -2.0, -0.5], [-0.3, -9.0, -9.0]], dtype=torch.float64, requires_grad=True)
    mask, advantages = torch.tensor([[1, 1, 1], [1, 0, 0]]), torch.tensor([[0.5], [-2.0]], dtype=torch.float64)
    loss = RLOO()(logps, LossInputs(logps.detach(), advantages, mask))
    assert loss.shape == (2, 1)
    loss.sum().backward()
    torch.testing.assert_close(logps.grad, -advantages * mask)


@pytest.mark.parametrize(
    ("trl", "ratio", "advantage", "expected"),
    [
        ({}, 1.5, 1.0, -1.2),
        ({"epsilon": 0.1}, 1.5, 1.0, -1.1),
        ({"epsilon": 0.1, "epsilon_high": 0.4}, 1.5, 1.0, -1.4),
        ({"epsilon": 0.1, "epsilon_high": None}, 0.5, -1.0, 0.9),
        ({"epsilon": 0.1}, 0.5, 1.0, -0.5),
        ({"epsilon": 0.1}, 1.5, -1.0, 1.5),
    ],
)
def test_the_clip_is_that_of_the_trl_settings(
    trl: dict[str, Any], ratio: float, advantage: float, expected: float
) -> None:
    half = torch.full((1, 2), ratio).log() / 2
    inputs = LossInputs(torch.zeros(1, 2), torch.tensor([[advantage]]), torch.ones(1, 2), trl=trl)
    assert float(RLOO()(half, inputs)) == pytest.approx(expected)
