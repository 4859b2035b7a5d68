"""Greedy completions beside a rollout, for credits whose baseline they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import PromptTask, Sample
from rlllm.policies.chat import encode_prompts
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.hf import HFEngine


def greedy_samples(model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig) -> list[Sample]:
    """The likeliest-token completion of each task's prompt, ready to be scored."""
    engine = HFEngine(model, tokenizer)
    prompts = encode_prompts(tokenizer, [task.prompt for task in tasks])
    drawn = engine.generate(prompts, sampling.model_copy(update={"temperature": 0.0}))
    texts = tokenizer.batch_decode(drawn, skip_special_tokens=True)
    stops = engine.stop_ids()
    return [
        Sample(task.prompt, text, task.answer, task.meta, len(ids), not ids or ids[-1] not in stops)
        for task, ids, text in zip(tasks, drawn, texts, strict=True)
    ]
