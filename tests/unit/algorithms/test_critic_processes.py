"""A critic in several processes: each learns from all rollouts, and all stay one critic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlllm.algorithms.ppo.critic import Critic


class Settings:
    """The part of TRL's settings a critic reads."""

    learning_rate = 1e-2
    adam_beta1, adam_beta2, adam_epsilon, weight_decay, max_grad_norm = 0.9, 0.999, 1e-8, 0.0, 0.0
    lr_scheduler_type = "constant"

    def get_warmup_steps(self, steps: int) -> int:
        return 0


def one_step(rank: int, folder: str) -> None:
    """Start from weights, and learn from an input, that are this process's own; write down what came of it."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(rank)
    critic = Critic(nn.Linear(2, 2), nn.Linear(2, 1), Settings())
    critic.start("cpu", 1)
    seen: dict[str, Any] = {"start": [p.detach().clone() for p in critic.parameters()]}
    critic.head(critic.trunk(torch.full((1, 2), rank + 1.0))).sum().backward()
    seen["own"] = [p.grad.clone() for p in critic.parameters()]
    critic.step()
    seen["end"] = [p.detach().clone() for p in critic.parameters()]
    torch.save(seen, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_critics_of_two_processes_start_and_step_as_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_step, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for when in ("start", "end"):
        assert all(torch.equal(one, other) for one, other in zip(first[when], second[when], strict=True))
    assert not torch.equal(first["own"][0], second["own"][0])
    assert not torch.equal(first["start"][0], first["end"][0])
