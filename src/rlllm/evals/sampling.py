"""Sampling completions for an evaluation: the same chat rule, engine and rewards as in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.builtins import ENGINES
from rlllm.core.records import Prompt, PromptTask, Sample, fingerprint
from rlllm.policies import chat
from rlllm.rollouts.config import SamplingConfig


def task_id(prompt: Prompt, answer: str | None) -> str:
    """Identity of a problem across runs: a hash of its prompt and answer."""
    return fingerprint([prompt, answer])


def sample(
    model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int, seed: int
) -> list[list[Sample]]:
    """`samples` completions of every task, drawn from one seeded stream; the outer list follows `tasks`."""
    import torch

    engine = ENGINES.load(sampling.engine)(model, tokenizer)
    prompts = chat.encode_prompts(tokenizer, [task.prompt for task in tasks])
    torch.manual_seed(seed)
    drawn = engine.generate([ids for ids in prompts for _ in range(samples)], sampling)
    stops = engine.stop_ids()
    texts = tokenizer.batch_decode(drawn, skip_special_tokens=True)
    made = iter(zip(drawn, texts, strict=True))
    return [[_sample(task, *next(made), stops) for _ in range(samples)] for task in tasks]


def _sample(task: PromptTask, ids: list[int], text: str, stops: set[int]) -> Sample:
    return Sample(task.prompt, text, task.answer, task.meta, len(ids), truncated=not ids or ids[-1] not in stops)
