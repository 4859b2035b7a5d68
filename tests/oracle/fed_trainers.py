"""TRL's trainer and the loop on equal weights, fed with the same completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from rlllm.algorithms.rl_trainer import RLTrainer, Slots
from rlllm.algorithms.samplers.order import InOrder
from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.records import PromptTask
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.engines.base import Engine

GROUP = 4
LENGTHS = (3, 1, 9, 60, 2, 5, 4, 2, 33, 7, 1, 6, 12, 2, 3, 18)
"""Tokens of each completion, a long tail: 4 prompts, 4 completions each."""
LIMIT = 60
TASKS = [
    PromptTask("pays by length", "varied"),
    PromptTask("pays the same for anything that may be written", "flat"),
    PromptTask("pays", "flat"),
    PromptTask("pays by the length of what is written", "varied"),
]
REWARD = """
def worth(answer, tokens): return 1.0 if answer == "flat" else tokens % 7 / 7
def by_length(sample): return worth(sample.answer, sample.tokens)
"""


def worth(answer: str, tokens: int) -> float:
    """What `REWARD` pays: the groups of flat prompts have no spread, and so no advantage."""
    return 1.0 if answer == "flat" else tokens % 7 / 7


def save_llama(folder: Path) -> str:
    """A Llama whose weights are large enough that no gradient vanishes in rounding."""
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def written() -> list[list[int]]:
    """Random completions of `LENGTHS` tokens; those shorter than the limit end with the end-of-sequence token."""
    draw = torch.Generator().manual_seed(2)
    end = build_tokenizer().eos_token_id
    rows = [torch.randint(0, 256, (length,), generator=draw).tolist() for length in LENGTHS]
    return [row if len(row) == LIMIT else [*row[:-1], end] for row in rows]


class Written(Engine):
    """An engine that answers with completions written beforehand."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Any) -> list[list[int]]:
        return written()[: len(prompts)]

    def stop_ids(self) -> set[int]:
        return {self.tokenizer.eos_token_id}


class StockFed(GRPOTrainer):
    """TRL's trainer with written completions in place of sampled ones, and nothing else changed."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        return written()[: len(prompt_ids)], None


class StockRLOO(RLOOTrainer):
    """TRL's RLOOTrainer with written completions in place of sampled ones, and nothing else changed."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        return written()[: len(prompt_ids)]


@dataclass
class Twins:
    """TRL's trainer and the loop, with equal weights."""

    stock: GRPOTrainer | RLOOTrainer
    loop: RLTrainer

    @property
    def both(self) -> tuple[GRPOTrainer | RLOOTrainer, RLTrainer]:
        return self.stock, self.loop


def twins(model: str, folder: Path, settings: Mapping[str, Any], *, lora: bool = False) -> Twins:
    """Both trainers under the same TRL settings; adapters, where wanted, start with random weights in both halves."""
    stock = StockFed(reward_funcs=_stock_reward, **_common(model, folder, settings, lora))
    loop = fed_loop(model, folder, settings, lora=lora)
    if lora:
        _fill_adapters(stock.model)
        _fill_adapters(loop.model)
    return Twins(stock, loop)


def rloo_trainer(model: str, folder: Path, settings: Mapping[str, Any]) -> StockRLOO:
    """TRL's RLOOTrainer on the same rows, rewards and completions, in double precision."""
    common = _common(model, folder, settings, False, RLOOConfig, torch.float64)
    return StockRLOO(reward_funcs=_stock_reward, **common)


def fed_loop(
    model: str,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    lora: bool = False,
    dtype: torch.dtype = torch.float32,
    **slots: Any,
) -> RLTrainer:
    """The loop under these TRL settings and components; an engine that writes the completions, unless `slots` has another."""
    (folder / "reward.py").write_text(REWARD)
    rewards = build([RewardSpec(name=f"{folder / 'reward.py'}:by_length")])
    return RLTrainer(
        slots=Slots(**{"rewards": rewards, "sampler": InOrder(), "engine": Written, **slots}),
        tasks=TASKS,
        on_rollout=lambda rows: None,
        **_common(model, folder, settings, lora, dtype=dtype),
    )


def _stock_reward(completion_ids: list[list[int]], answer: list[str], **_: Any) -> list[float]:
    return [worth(kind, len(ids)) for kind, ids in zip(answer, completion_ids, strict=True)]


def _common(
    model: str,
    folder: Path,
    settings: Mapping[str, Any],
    lora: bool,
    config: type[Any] = GRPOConfig,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    defaults = {
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "num_generations": GROUP,
        "per_device_train_batch_size": len(LENGTHS),
        "max_completion_length": LIMIT,
        "temperature": 0.8,
        "shuffle_dataset": False,
        "report_to": "none",
        "seed": 3,
    }
    adapters = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    return {
        "model": AutoModelForCausalLM.from_pretrained(model, dtype=dtype),
        "args": config(str(folder), **{**defaults, **settings}),
        "train_dataset": Dataset.from_list(rows()),
        "processing_class": AutoTokenizer.from_pretrained(model),
        "peft_config": adapters if lora else None,
    }


def rows() -> list[dict[str, Any]]:
    """The dataset of both: the loop reads `row`, TRL's reward `answer`."""
    return [
        {"prompt": [{"role": "user", "content": task.prompt}], "row": index, "answer": task.answer}
        for index, task in enumerate(TASKS)
    ]


@torch.no_grad()
def _fill_adapters(model: Any) -> None:
    draw = torch.Generator().manual_seed(7)
    for parameter in learning(model).values():
        parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)


def learning(model: Any) -> dict[str, Tensor]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def rollout() -> dict[str, Tensor]:
    """A padded batch as TRL's loss takes it; every other group has no advantage."""
    draw = torch.Generator().manual_seed(11)
    completions = written()
    rows = len(completions)
    pad = build_tokenizer().pad_token_id
    prompts = [torch.randint(0, 256, (2 + 5 * (index // GROUP),), generator=draw).tolist() for index in range(rows)]
    width = max(map(len, prompts))
    keep = max(map(len, completions))
    advantages = torch.randn(rows, generator=draw)
    advantages[torch.arange(rows) // GROUP % 2 == 1] = 0.0
    mask = torch.tensor([[1] * len(ids) + [0] * (keep - len(ids)) for ids in completions])
    return {
        "prompt_ids": torch.tensor([[pad] * (width - len(ids)) + ids for ids in prompts]),
        "prompt_mask": torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]),
        "completion_ids": torch.tensor([ids + [pad] * (keep - len(ids)) for ids in completions]),
        "completion_mask": mask,
        "advantages": advantages,
        "num_items_in_batch": mask.sum(),
    }
