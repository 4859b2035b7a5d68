"""From tasks to scored-to-be samples: encode, generate, decode, and note what was cut short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import PromptTask, Sample
from rlllm.policies.chat import encode_prompts
from rlllm.rollouts.config import SamplingConfig


def draw(
    engine: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int = 1
) -> list[list[Sample]]:
    """`samples` completions of every task by an engine; the outer list follows `tasks`."""
    prompts = encode_prompts(tokenizer, [task.prompt for task in tasks])
    drawn = engine.generate([ids for ids in prompts for _ in range(samples)], sampling)
    texts = tokenizer.batch_decode(drawn, skip_special_tokens=True)
    stops = engine.stop_ids()
    made = iter(zip(drawn, texts, strict=True))
    return [[_sample(task, *next(made), stops) for _ in range(samples)] for task in tasks]


def _sample(task: PromptTask, ids: list[int], text: str, stops: set[int]) -> Sample:
    return Sample(task.prompt, text, task.answer, task.meta, len(ids), truncated=not ids or ids[-1] not in stops)
