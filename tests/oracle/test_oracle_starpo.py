"""StaRPO in the loop: GRPO at its neutral setting, and a bonus that padding, batches, adapters and processes leave as it is."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from fed_trainers import LENGTHS, fed_loop, save_llama
from torch import Tensor

from rlllm.algorithms.advantages.stability import StaRPO, stability
from rlllm.algorithms.masks.top_share import ICT

QUICK = {"max_steps": 2, "learning_rate": 1e-2, "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
WINDOWS: dict[str, Any] = {"window": 3}
"""The completions of these tests are random tokens, which have no lines."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


def weights(
    model: str, folder: Path, settings: dict[str, Any], *, lora: bool = False, **slots: Any
) -> dict[str, Tensor]:
    trainer = fed_loop(model, folder, {**QUICK, **settings}, lora=lora, **slots)
    trainer.train()
    return trainer.model.state_dict()


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def rolled_out(trainer: Any) -> dict[str, Any]:
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions([trainer.train_dataset[row // 4] for row in range(len(LENGTHS))])


SCHEDULES: list[dict[str, Any]] = [
    {},
    {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 8},
    {"num_iterations": 2, "beta": 0.1},
    {"steps_per_generation": 2, "per_device_train_batch_size": 8, "loss_type": "dapo", "scale_rewards": "batch"},
]


@pytest.mark.parametrize("settings", SCHEDULES, ids=str)
def test_the_neutral_setting_is_grpo_to_the_bit(llama: str, tmp_path: Path, settings: dict[str, Any]) -> None:
    plain = weights(llama, tmp_path, settings)
    neutral = StaRPO(**WINDOWS, acf_weight=0.0, pe_weight=0.0)
    assert differing(plain, weights(llama, tmp_path, settings, advantage=neutral)) == []
    assert differing(plain, weights(llama, tmp_path, settings, advantage=StaRPO(**WINDOWS))) != []


def test_accumulated_micro_batches_learn_what_the_whole_batch_learns(llama: str, tmp_path: Path) -> None:
    settings = {"optim": "sgd", "learning_rate": 0.1}
    whole = weights(llama, tmp_path, settings, advantage=StaRPO(**WINDOWS))
    cut = {**settings, "gradient_accumulation_steps": 4, "per_device_train_batch_size": 4}
    for name, values in weights(llama, tmp_path, cut, advantage=StaRPO(**WINDOWS)).items():
        torch.testing.assert_close(values, whole[name], atol=1e-5, rtol=0)


def test_the_bonus_is_that_of_each_completion_alone(llama: str, tmp_path: Path) -> None:
    """By hand, without padding and without the loop's pass: hidden states of one call for each completion."""
    trainer = fed_loop(llama, tmp_path, {**QUICK, "scale_rewards": "none"}, advantage=StaRPO(**WINDOWS))
    output = rolled_out(trainer)
    plain = rolled_out(fed_loop(llama, tmp_path, {**QUICK, "scale_rewards": "none"}))["advantages"]
    special = set(trainer.processing_class.all_special_ids)
    bonus = []
    for row, length in enumerate(LENGTHS):
        prompt = output["prompt_ids"][row][output["prompt_mask"][row].bool()]
        ids = torch.cat([prompt, output["completion_ids"][row, :length]])
        with torch.no_grad():
            hidden = trainer.model(input_ids=ids[None], output_hidden_states=True).hidden_states[-1][0, len(prompt) :]
        own = [at for at, token in enumerate(ids[len(prompt) :].tolist()) if token not in special]
        parts = [own[start : start + 3] for start in range(0, len(own), 3)]
        means = [hidden[kept].mean(0) for part in parts if (kept := [at for at in part if at < length - 1])]
        acf, pe, _ = stability(torch.stack(means)[None]) if means else (torch.zeros(1), torch.zeros(1), None)
        bonus.append(float(0.1 * acf + 0.1 * pe))
    grouped = torch.tensor(bonus).view(-1, 4)
    expected = plain + (grouped - grouped.mean(1, keepdim=True)).view(-1)
    assert grouped.std() > 0
    torch.testing.assert_close(output["advantages"], expected, atol=1e-5, rtol=1e-4)
    assert not output["advantages"].requires_grad


@pytest.mark.parametrize(
    "advantage",
    [StaRPO(**WINDOWS, control="shuffled"), StaRPO(control="shorter"), StaRPO(**WINDOWS, acf_norm="printed", layer=1)],
    ids=str,
)
def test_adapters_learn_with_every_control_together_with_icts_mask(llama: str, tmp_path: Path, advantage: Any) -> None:
    settings = {**QUICK, "logging_strategy": "steps", "logging_steps": 1, "num_iterations": 2}
    trainer = fed_loop(llama, tmp_path, settings, lora=True, advantage=advantage, mask=ICT(0.4, 0))
    before = {name: values.clone() for name, values in trainer.model.state_dict().items()}
    trainer.train()
    changed = differing(before, trainer.model.state_dict())
    assert changed
    assert all("lora" in name for name in changed)
    (logged,) = [row for row in trainer.state.log_history if "starpo/steps" in row]
    assert logged["starpo/bonus_std"] > 0
    assert "ict/divergence" in logged


def train_one_of_two(rank: int, model: str, folder: str, port: int) -> None:
    """Train two steps as one of two processes; write down the weights and what was logged."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    own = Path(folder) / str(rank)
    own.mkdir()
    settings = {**QUICK, "per_device_train_batch_size": 8, "scale_rewards": "batch"}
    trainer = fed_loop(model, own, settings, advantage=StaRPO(**WINDOWS))
    trainer.train()
    torch.save(
        {"weights": trainer.model.state_dict(), "logged": dict(trainer.slots.advantage.metrics)},
        Path(folder) / f"{rank}.pt",
    )
    torch.distributed.destroy_process_group()


def test_two_processes_stay_one_model(llama: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train_one_of_two, (llama, str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert differing(first["weights"], second["weights"]) == []
    assert first["logged"] == second["logged"]
