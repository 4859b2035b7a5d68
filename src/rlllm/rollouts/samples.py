"""From prompt tasks to samples that rewards can score: encode prompts, generate, decode, mark truncated completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import PromptTask, Sample
from rlllm.policies.chat import encode_prompts
from rlllm.policies.completion_text import completion_texts
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine, sample_completions


def draw(
    engine: Engine, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int = 1
) -> list[list[Sample]]:
    """`samples` completions of every task by an engine; the outer list follows `tasks`."""
    prompts = encode_prompts(tokenizer, [task.prompt for task in tasks], [task.meta for task in tasks])
    completions = sample_completions(engine, [ids for ids in prompts for _ in range(samples)], sampling)
    texts = completion_texts(tokenizer, completions)
    stops = engine.stop_ids()
    pairs = iter(zip(completions, texts, strict=True))
    return [[_sample(task, *next(pairs), stops) for _ in range(samples)] for task in tasks]


def _sample(task: PromptTask, ids: list[int], text: str, stops: set[int]) -> Sample:
    return Sample(task.prompt, text, task.answer, task.meta, len(ids), truncated=ids[-1] not in stops)
