"""The work that grpo_vs_trl.py gives both commands: prompts, models, and one reward in the form that each of them takes.

Both commands import this file for the reward, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LENGTHS_FILE = "GRPO_VS_TRL_LENGTHS"
END_CHANCE = 1 / 48
TEXT = (
    "A trader brings wool from the hills to the harbour every week, and writes down what was sold and what was left. "
    "In week {a} the first buyer took {b} sacks, the second took {c} sacks, and the third came too late and took none. "
    "The weather was bad, the road was closed twice, and the price fell a little. "
    "Explain in detail how many sacks were sold in all, what should be written down, and why that is right."
)


# the reward, for both commands ----------------------------------------------------------------------------------------
def worth(kind: str | None, text: str) -> float:
    """A checksum of the text between 0 and 1, or 1 for every text where the group shall be flat."""
    return 1.0 if kind == "flat" else zlib.crc32(text.encode()) / 2**32


def trl_reward(completions: list[Any], completion_ids: list[list[int]], answer: list[str], **_: Any) -> list[float]:
    """TRL's form: lists of one batch; notes the lengths."""
    note_lengths(len(ids) for ids in completion_ids)
    return [worth(kind, turns[0]["content"]) for kind, turns in zip(answer, completions, strict=True)]


def rlllm_reward(sample: Any) -> float:
    """rlllm's form: one sample; notes its length."""
    note_lengths([sample.tokens])
    return worth(sample.answer, sample.completion)


def note_lengths(lengths: Iterable[int]) -> None:
    """Append to the file that the benchmark reads afterwards."""
    with open(os.environ[LENGTHS_FILE], "a", encoding="utf-8") as file:
        file.write("".join(f"{length}\n" for length in lengths))


# workloads ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Workload:
    """What both commands do."""

    name: str
    about: str
    model: Callable[[Path | None, Path], str]
    """Folder given for SmolLM2, scratch folder -> model folder."""
    prompt: str
    completions: int
    """In one forward and backward pass of TRL (per_device_train_batch_size)."""
    limit: int
    """Tokens of a completion at most."""
    steps: int
    group: int = 8
    accumulation: int = 1
    flat_every: int = 0
    """Every how many prompts one has a flat group; 0: none."""
    device: str = "cpu"

    def rows(self, steps: int) -> list[dict[str, Any]]:
        """One prompt for each group of the run; the answer column says what the reward shall do."""
        count = steps * self.completions * self.accumulation // self.group
        numbers = ({"a": 1 + index, "b": 2 + index % 7, "c": 3 + index % 11} for index in range(count))
        return [
            {
                "prompt": [{"role": "user", "content": self.prompt.format(**values)}],
                "answer": "flat" if self.flat_every and index % self.flat_every == 0 else "mixed",
            }
            for index, values in enumerate(numbers)
        ]


def embedded(given: Path | None, folder: Path) -> str:
    """nano as it is."""
    from rlllm.policies.model_sources import NANO

    return str(NANO)


def smollm2(given: Path | None, folder: Path) -> str:
    """The folder given on the command line."""
    if given is None or not (given / "config.json").is_file():
        raise SystemExit("this workload needs --smollm2 FOLDER, a folder with SmolLM2-135M-Instruct")
    return str(given.resolve())


def long_tail(given: Path | None, folder: Path) -> str:
    """A model of nano's shape, untrained, that ends a completion at each token with a chance of about 1 in 48.

    Feature 0 of the residual stream is 1 everywhere, since no layer writes to it, so that the end token's own feature 0 moves
    its logit up or down; the value for the wanted chance is found by bisection.
    """
    import torch

    from rlllm.assets.build_nano import build_model, build_tokenizer

    model, tokenizer = build_model(), build_tokenizer()
    table, end = model.get_input_embeddings().weight, tokenizer.eos_token_id
    text = torch.randint(32, 127, (8, 128), generator=torch.Generator().manual_seed(0))
    low, high = -10.0, 10.0
    with torch.no_grad():
        table[:, 0] = 1.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        for _ in range(30):
            table[end, 0] = (low + high) / 2
            often = model(text).logits.softmax(-1)[..., end].mean() > END_CHANCE
            low, high = (low, (low + high) / 2) if often else ((low + high) / 2, high)
    model.save_pretrained(folder / "long-tail")
    tokenizer.save_pretrained(folder / "long-tail")
    return str(folder / "long-tail")


SUM = "What is {a} plus {b} plus {c}?"
WORKLOADS = (
    Workload("w1", "nano, 64 completions in groups of 8, up to 96 tokens", embedded, SUM, 64, 96, 20),
    Workload("w2-mixed", "SmolLM2-135M, 16 completions in groups of 8, all mixed", smollm2, TEXT, 16, 128, 3),
    Workload("w2-flat", "SmolLM2-135M, as w2-mixed, half of the groups flat", smollm2, TEXT, 16, 128, 3, flat_every=2),
    Workload("w3", "nano's shape, 64 completions in groups of 8, long tail up to 256", long_tail, SUM, 64, 256, 20),
    Workload(
        "w2-gpu",
        "SmolLM2-135M on a GPU, 64 prompts x 16 completions",
        smollm2,
        TEXT,
        64,
        128,
        10,
        group=16,
        accumulation=16,
        device="cuda",
    ),
)
