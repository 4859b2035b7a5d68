"""Sampling completions for an evaluation: the same chat rule, engine and rewards as in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.builtins import ENGINES
from rlllm.core.records import Prompt, PromptTask, Sample, fingerprint
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.samples import draw


def task_id(prompt: Prompt, answer: str | None) -> str:
    """Identity of a problem across runs: a hash of its prompt and answer."""
    return fingerprint([prompt, answer])


def sample(
    model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int, seed: int
) -> list[list[Sample]]:
    """`samples` completions of every task, drawn from one seeded stream; the outer list follows `tasks`."""
    import torch

    engine = ENGINES.load(sampling.engine)(model, tokenizer)
    torch.manual_seed(seed)
    return draw(engine, tokenizer, tasks, sampling, samples=samples)
