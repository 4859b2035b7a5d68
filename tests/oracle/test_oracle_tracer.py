"""TRACER in two processes: each plays its own dialogues and replays, and all share one table and one model."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch
from fed_trainers import fed_loop

from rlllm.algorithms.dialogues.tracer import TRACER
from rlllm.rollouts.engines.hf import HFEngine


def train_one_of_two(rank: int, model: str, folder: str, port: int) -> None:
    """Play and train two steps as one of two processes; write down what came of it."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    own = Path(folder) / str(rank)
    own.mkdir()
    part = TRACER(marked=False, history=0, replays=1)
    settings = {"per_device_train_batch_size": 8, "max_completion_length": 8, "max_steps": 2, "num_generations": 4}
    trainer = fed_loop(model, own, settings, engine=HFEngine, dialogue=part)
    trainer.train()
    kept = {
        "weights": trainer.model.state_dict(),
        "table": part.state_dict(),
        "own": [state.pending for state in part._played],
    }
    torch.save({**kept, "seen": trainer.state.num_input_tokens_seen}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_share_one_table(tiny_model: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train_one_of_two, (tiny_model, str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, values in first["weights"].items():
        assert torch.equal(values, second["weights"][name]), name
    assert first["table"]
    assert first["table"] == second["table"]
    assert first["own"] != second["own"]
    assert first["seen"] == second["seen"]
