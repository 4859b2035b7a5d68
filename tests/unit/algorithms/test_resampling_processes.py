"""Samplers in two processes: each steers its own groups, and both stay one sampler."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rlllm.algorithms.batch import group_advantages
from rlllm.algorithms.protocols import Sampler
from rlllm.algorithms.resampling import Resampling
from rlllm.algorithms.rollout import Rollout
from rlllm.algorithms.samplers.dynamic_sampling import Dynamic
from rlllm.algorithms.samplers.pass_band import PassBand
from rlllm.algorithms.samplers.replay import Replay
from rlllm.core.records import Sample

GROUP = 2
SAMPLERS: dict[str, Any] = {"dynamic": Dynamic(), "band": PassBand(patience=1), "replay": Replay()}


class Padding:
    """The part of a tokenizer that steering reads."""

    pad_token_id = 0


class Steered(Resampling):
    """Resampling over a policy whose completions are their prompt's row: every third prompt earns nothing."""

    num_generations = GROUP
    filter_column = 0
    scale_rewards = "batch"
    multi_objective_aggregation = "sum_then_normalize"
    _tokenizer = Padding()

    def __init__(self, sampler: Sampler, accelerator: Any, rows: int) -> None:
        self.sampler, self.accelerator = sampler, accelerator
        self.reward_weights = torch.ones(1)
        self.train_dataset = [{"row": row} for row in range(rows)]
        self._metrics: Any = {"train": defaultdict(list)}
        sampler.begin(rows, 0)

    def _note(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train"][name].append(value)

    def _with_pixels(self, rollout: Rollout) -> Rollout:
        return rollout

    def _signal_context(self, rollout: Rollout) -> Rollout:
        return rollout

    def _shared_pass(self, wanted: Mapping[str, Any], context: Rollout) -> dict[str, torch.Tensor]:
        return {"logps": -context.output["completion_ids"].float()}

    def _sampled(self, inputs: Sequence[Mapping[str, Any]]) -> Rollout:
        rows = [int(one["row"]) for one in inputs]
        ids = torch.tensor(rows).view(-1, 1) + 1
        worth = [float(row % 3 > 0) * (row + 1) * (place % GROUP) for place, row in enumerate(rows)]
        output = {"prompt_ids": ids, "prompt_mask": torch.ones_like(ids), "completion_ids": ids}
        output |= {"completion_mask": torch.ones_like(ids), "advantages": torch.zeros(len(rows))}
        samples: list[Sample | None] = [Sample("", "", tokens=1) for _ in rows]
        return Rollout(
            rows, output, torch.tensor(worth).view(-1, 1), GROUP, samples, [{}] * len(rows), [""] * len(rows)
        )


def steered(sampler: Any, rank: int, accelerator: Any) -> dict[str, Any]:
    """Three rollouts of a process's own prompts, of which the last two ask for flat ones only; what came of them."""
    host = Steered(sampler, accelerator, rows=18)
    seen: list[dict[str, Any]] = []
    for first in (1 + rank, 3 * rank, 3 * rank):
        inputs = [{"row": first + 3 * group} for group in range(3) for _ in range(GROUP)]
        rollout, _ = host._rollout_to_learn_from(inputs)
        seen.append({"rows": rollout.rows, "rewards": rollout.rewards, "output": rollout.output})
    return {"seen": seen, "state": sampler.state_dict()}


def steer(rank: int, folder: str, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    made = {name: steered(sampler, rank, accelerator) for name, sampler in SAMPLERS.items()}
    torch.save(made, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_take_equal_batches_and_end_with_one_state(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(steer, (str(tmp_path), port), nprocs=2)
    made = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name in SAMPLERS:
        first, second = made[0][name], made[1][name]
        assert first["state"] == second["state"]
        for one, other in zip(first["seen"], second["seen"], strict=True):
            assert len(one["rows"]) == len(other["rows"]) == 3 * GROUP
            if "num_items_in_batch" in one["output"]:
                assert_one_batch(one, other)
        last = [row for side in (first, second) for row in side["seen"][2]["rows"]]
        assert not all(row % 3 == 0 for row in last), f"{name} left the flat prompts as they were"


def assert_one_batch(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The advantages of both processes are those of their completions taken together."""
    both = torch.cat([one["rewards"], other["rewards"]])
    together = torch.cat([one["output"]["advantages"], other["output"]["advantages"]])
    torch.testing.assert_close(together, group_advantages(both, torch.ones(1), GROUP, "batch"))
    assert one["output"]["num_items_in_batch"] == other["output"]["num_items_in_batch"] == len(both)
