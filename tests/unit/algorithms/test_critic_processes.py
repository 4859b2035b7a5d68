"""A critic in several processes: each learns from all rollouts, and all stay one critic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from torch import nn
from transformers import LlamaConfig, LlamaModel

from rlllm.algorithms.ppo.critic import Critic


class Settings:
    """The part of TRL's settings a critic reads."""

    learning_rate = 1e-2
    adam_beta1, adam_beta2, adam_epsilon, weight_decay, max_grad_norm = 0.9, 0.999, 1e-8, 0.0, 0.0
    lr_scheduler_type = "constant"

    def get_warmup_steps(self, steps: int) -> int:
        return 0


def both(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    one_step(rank, Path(folder))
    spread_steps(rank, Path(folder))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes wrote what their critics did."""
    path = tmp_path_factory.mktemp("critics")
    torch.multiprocessing.spawn(both, (str(path),), nprocs=2)
    return path


def one_step(rank: int, folder: Path) -> None:
    """Start from weights, and learn from an input, that are this process's own; write down what came of it."""
    torch.manual_seed(rank)
    critic = Critic(nn.Linear(2, 2), nn.Linear(2, 1), Settings())
    critic.start("cpu", 1)
    seen: dict[str, Any] = {"start": [p.detach().clone() for p in critic.parameters()]}
    critic.head(critic.trunk(torch.full((1, 2), rank + 1.0))).sum().backward()
    seen["own"] = [p.grad.clone() for p in critic.parameters()]
    critic.step()
    seen["end"] = [p.detach().clone() for p in critic.parameters()]
    torch.save(seen, folder / f"{rank}.pt")


def test_critics_of_two_processes_start_and_step_as_one(folder: Path) -> None:
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for when in ("start", "end"):
        assert all(torch.equal(one, other) for one, other in zip(first[when], second[when], strict=True))
    assert not torch.equal(first["own"][0], second["own"][0])
    assert not torch.equal(first["start"][0], first["end"][0])


IDS = torch.arange(16).view(2, 8)


def critic_of(seed: int) -> Critic:
    torch.manual_seed(seed)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    return Critic(LlamaModel(LlamaConfig(vocab_size=16, **shape)), nn.Linear(8, 1, bias=False), Settings())


def learned(critic: Critic, rows: torch.Tensor) -> float:
    """One step towards the value 1; returns the norm of its gradient."""
    (critic.values(rows, torch.ones_like(rows), 4) - 1).square().mean().backward()
    return critic.step()


def spread_steps(rank: int, folder: Path) -> None:
    """Steps of a critic whose parts lie in two processes, each with a row of its own; saved between, and loaded again."""
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    critic, path = critic_of(0), folder / "critic"
    critic.start("cpu", 3, plugin)
    norms = [learned(critic, IDS[rank : rank + 1])]
    path.mkdir(exist_ok=True)
    critic.save(path, writes=rank == 0)
    torch.distributed.barrier()
    norms.append(learned(critic, IDS[rank : rank + 1]))
    again = critic_of(5)
    again.start("cpu", 3, plugin)
    again.load(path)
    norms.append(learned(again, IDS[rank : rank + 1]))
    held = sum(parameter.to_local().numel() for parameter in critic.parameters())
    with torch.no_grad():
        values = again.values(IDS, torch.ones_like(IDS), 4)
    torch.save({"norms": norms, "values": values, "held": held}, folder / f"spread-{rank}.pt")


def test_a_critic_in_parts_learns_as_a_whole_one_and_goes_on_from_its_file(folder: Path) -> None:
    whole = critic_of(0)
    whole.start("cpu", 3)
    norms = [learned(whole, IDS) for _ in range(2)]
    with torch.no_grad():
        values = whole.values(IDS, torch.ones_like(IDS), 4)
    loaded = critic_of(5)
    loaded.start("cpu", 3)
    loaded.load(folder / "critic")
    assert learned(loaded, IDS) == pytest.approx(norms[1], rel=1e-5)
    for rank in (0, 1):
        seen = torch.load(folder / f"spread-{rank}.pt", weights_only=True)
        assert seen["norms"] == pytest.approx([*norms, norms[1]], rel=1e-4)
        torch.testing.assert_close(seen["values"], values, rtol=1e-4, atol=1e-5)
        assert seen["held"] < 0.6 * sum(parameter.numel() for parameter in whole.parameters())
