"""The target of the adaptive entropy bonus is the policy's mean entropy on its first rollout, token by token in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from steered import inputs, logged, loop

from rlllm.algorithms.entropy_target import EntropyTarget
from rlllm.algorithms.rl_trainer import RLTrainer

TEMPERATURE = 0.8
SETTINGS: dict[str, Any] = {"use_adaptive_entropy": True, "loss_type": "dapo", "temperature": TEMPERATURE}


def mean_entropy(trainer: RLTrainer, output: dict[str, Any]) -> float:
    """Over the real completion tokens, each completion passed alone and without padding."""
    entropies = []
    for row in range(len(output["completion_ids"])):
        prompt = output["prompt_ids"][row][output["prompt_mask"][row].bool()]
        completion = output["completion_ids"][row][output["completion_mask"][row].bool()]
        with torch.no_grad():
            logits = trainer.model(torch.cat([prompt, completion]).unsqueeze(0)).logits[0, len(prompt) - 1 : -1]
        scaled = logits.double().numpy() / TEMPERATURE
        shares = np.exp(scaled - scaled.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        entropies += list(-(shares * np.log(shares)).sum(1))
    return float(np.mean(entropies))


def test_the_target_is_measured_once_on_the_first_rollout(tiny_model: str, tmp_path: Path) -> None:
    trainer = loop(tiny_model, tmp_path, [], settings=SETTINGS, entropy_target=EntropyTarget())
    output = trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 3))
    expected = mean_entropy(trainer, output)
    assert trainer.args.entropy_target == pytest.approx(expected, abs=1e-5)
    assert logged(trainer, "entropy_target") == [trainer.args.entropy_target]
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.5)
    later = trainer._generate_and_score_completions(inputs(trainer, 4, 5, 6, 7))
    assert abs(mean_entropy(trainer, later) - expected) > 1e-2
    assert trainer.args.entropy_target == pytest.approx(expected, abs=1e-5)
    assert trainer.slots.stateful["entropy_target"].state_dict() == {"value": trainer.args.entropy_target}


def test_a_resumed_run_keeps_the_target_it_began_with(tiny_model: str, tmp_path: Path) -> None:
    target = EntropyTarget()
    assert target.state_dict() == {}
    trainer = loop(tiny_model, tmp_path, [], settings=SETTINGS, entropy_target=target)
    target.load_state_dict({"value": 0.7})
    trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 3))
    assert trainer.args.entropy_target == 0.7


def test_without_it_trls_setting_stays(tiny_model: str, tmp_path: Path) -> None:
    trainer = loop(tiny_model, tmp_path, [], settings={**SETTINGS, "entropy_target": 0.3})
    trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 3))
    assert trainer.args.entropy_target == 0.3
    assert "entropy_target" not in trainer.slots.stateful
