"""E3RL in the loop: rewards shared out by attention, accumulation, adapters, and two processes that erase on their own."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from fed_trainers import LENGTHS, fed_loop, save_llama
from torch import Tensor

from rlllm.algorithms.advantages.segments import SegmentShares, segment_advantages
from rlllm.algorithms.erasing.uncertainty import Uncertainty
from rlllm.rollouts.engines.hf import HFEngine

QUICK = {"max_steps": 2, "learning_rate": 1e-2, "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
SEGMENT = 4
TOKENS = 6
SHARED = SegmentShares(SEGMENT, attention_tokens=TOKENS)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


def rolled_out(trainer: Any) -> dict[str, Any]:
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions([trainer.train_dataset[row // 4] for row in range(len(LENGTHS))])


def shares_by_hand(model: Any, prompt: Tensor, completion: Tensor) -> Tensor:
    """(N,) shares of segments, from the whole attention matrix of a completion alone."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        ids = torch.cat([prompt, completion]).unsqueeze(0)
        matrix = model(input_ids=ids, output_attentions=True).attentions[-1][0].mean(0)
    model.set_attn_implementation("sdpa")
    paid = matrix[len(prompt) :, len(prompt) :][-TOKENS:].sum(0)
    return torch.stack([part.sum() for part in (paid / paid.sum()).split(SEGMENT)])


def test_advantages_are_those_of_each_completion_alone(llama: str, tmp_path: Path) -> None:
    trainer = fed_loop(llama, tmp_path, QUICK, advantage=SHARED)
    output = rolled_out(trainer)
    width = -(-max(LENGTHS) // SEGMENT)
    of_rewards, reached = torch.zeros(len(LENGTHS), width), torch.zeros(len(LENGTHS), width, dtype=torch.bool)
    rewards = torch.tensor([1.0 if 4 <= row < 12 else length % 7 / 7 for row, length in enumerate(LENGTHS)])
    for row, length in enumerate(LENGTHS):
        prompt = output["prompt_ids"][row][output["prompt_mask"][row].bool()]
        shares = shares_by_hand(trainer.model, prompt, output["completion_ids"][row, :length])
        of_rewards[row, : len(shares)] = rewards[row] * shares
        reached[row, : len(shares)] = True
    of_segment = segment_advantages(of_rewards, reached, 4)
    expected = of_segment.repeat_interleave(SEGMENT, 1)[:, : max(LENGTHS)] * output["completion_mask"]
    torch.testing.assert_close(output["advantages"], expected, atol=1e-4, rtol=1e-4)
    assert not output["advantages"].requires_grad


def weights(model: str, folder: Path, settings: dict[str, Any], **slots: Any) -> dict[str, Tensor]:
    trainer = fed_loop(model, folder, {**QUICK, **settings}, **slots)
    trainer.train()
    return trainer.model.state_dict()


def test_accumulated_micro_batches_learn_what_the_whole_batch_learns(llama: str, tmp_path: Path) -> None:
    settings = {"optim": "sgd", "learning_rate": 0.1}
    whole = weights(llama, tmp_path, settings, advantage=SHARED)
    cut = {**settings, "gradient_accumulation_steps": 4, "per_device_train_batch_size": 4}
    for name, values in weights(llama, tmp_path, cut, advantage=SHARED).items():
        torch.testing.assert_close(values, whole[name], atol=1e-5, rtol=0)


def test_adapters_learn_over_several_updates_with_the_control(llama: str, tmp_path: Path) -> None:
    settings = {**QUICK, "num_iterations": 2}
    shuffled = SegmentShares(SEGMENT, attention_tokens=TOKENS, control="shuffled", equal_groups="skip")
    trainer = fed_loop(llama, tmp_path, settings, lora=True, advantage=shuffled)
    before = {name: values.clone() for name, values in trainer.model.state_dict().items()}
    trainer.train()
    changed = [name for name, values in trainer.model.state_dict().items() if not torch.equal(values, before[name])]
    assert changed
    assert all("lora" in name for name in changed)


def train_one_of_two(rank: int, model: str, folder: str, port: int) -> None:
    """Sample in segments and train two steps as one of two processes; write down what came of it."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    own = Path(folder) / str(rank)
    own.mkdir()
    erase = Uncertainty(SEGMENT, max_erasures=2, kappa_base=0.0, kappa_slope=0.0)
    settings = {**QUICK, "per_device_train_batch_size": 8, "max_completion_length": 10}
    trainer = fed_loop(model, own, settings, engine=HFEngine, erase=erase, advantage=SHARED)
    trainer.train()
    torch.save(
        {
            "weights": trainer.model.state_dict(),
            "deviation": erase.mean_deviation,
            "seen": trainer.state.num_input_tokens_seen,
            "own": erase.metrics["erase/uncertainty"],
            "shares": dict(SHARED.metrics),
        },
        Path(folder) / f"{rank}.pt",
    )
    torch.distributed.destroy_process_group()


def test_two_processes_erase_on_their_own_and_stay_one_model(llama: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train_one_of_two, (llama, str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, values in first["weights"].items():
        assert torch.equal(values, second["weights"][name]), name
    assert first["own"] != second["own"]
    assert first["deviation"] == second["deviation"]
    assert first["seen"] == second["seen"]
    assert first["shares"] == second["shares"]
