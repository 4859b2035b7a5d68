"""Loops over prompts of which some pay every completion the same and others pay by what is written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from rlllm.algorithms.rl_trainer import RLTrainer, Slots
from rlllm.algorithms.signals.logps import Logps
from rlllm.core.records import PromptTask
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

GROUP = 4
FLAT_EVERY = 2
"""Every second prompt is flat."""
REWARDS = """
def varied(sample):
    first = ord(sample.completion[:1] or "a")
    return 1.0 if sample.answer == "flat" else len(sample.completion.encode()) + 0.1 * first
def form(sample): return float(len(sample.completion.encode()) % 5)
def right(sample): return 0.0 if sample.answer == "flat" else float((sample.completion[:1] or "a") > "M")
form.verifies, right.verifies = False, True
def vowels(sample): return None if sample.completion[:1] > "a" else float(sum(c in "aeiou" for c in sample.completion))
"""


def tasks(count: int = 12, flat_every: int = FLAT_EVERY) -> list[PromptTask]:
    kinds = ["flat" if flat_every and index % flat_every == 0 else "varied" for index in range(count)]
    return [
        PromptTask(f"{'say ' * (index % 3)}{index}", kind, {"solution": f"abc {index}", "level": 1 + index % 2})
        for index, kind in enumerate(kinds)
    ]


def config(folder: Path, **settings: Any) -> GRPOConfig:
    defaults = {
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "num_generations": GROUP,
        "per_device_train_batch_size": 4 * GROUP,
        "max_completion_length": 6,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "shuffle_dataset": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "seed": 3,
    }
    return GRPOConfig(str(folder), **{**defaults, **settings})


def loop(
    model: str,
    folder: Path,
    records: list[dict[str, Any]],
    *,
    data: list[PromptTask] | None = None,
    rewards: tuple[tuple[str, float], ...] = (("varied", 1.0),),
    settings: dict[str, Any] | None = None,
    **slots: Any,
) -> RLTrainer:
    """A loop whose rollouts take four prompts, four completions each."""
    (folder / "reward.py").write_text(REWARDS)
    data = tasks() if data is None else data
    composition = build([RewardSpec(name=f"{folder / 'reward.py'}:{name}", weight=w) for name, w in rewards])
    rows = [{"prompt": [{"role": "user", "content": task.prompt}], "row": i} for i, task in enumerate(data)]
    torch.manual_seed(0)
    weights = [weight for _, weight in rewards]
    trainer = RLTrainer(
        slots=Slots(rewards=composition, **slots),
        tasks=data,
        on_rollout=records.extend,
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=config(folder, reward_weights=weights, **(settings or {})),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    trainer.model.train()
    return trainer


def inputs(trainer: RLTrainer, *prompts: int) -> list[dict[str, Any]]:
    """The rows TRL would ask the loop to complete."""
    return [trainer.train_dataset[row] for row in prompts for _ in range(GROUP)]


def token_logps(trainer: RLTrainer, output: Any) -> Tensor:
    """(B, T) log-probabilities of a rollout's completion tokens, by the trainer's own forward pass."""
    context: Any = SimpleNamespace(output=output, rows=(), rows_per_pass=trainer.args.per_device_train_batch_size)
    return trainer._shared_pass({"logps": Logps()}, context)["logps"]


def logged(trainer: RLTrainer, name: str) -> list[float]:
    return trainer._metrics["train"][name]
