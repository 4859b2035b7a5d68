"""Greedy completions beside a rollout, for advantages whose baseline they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import PromptTask, Sample
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.hf import HFEngine
from rlllm.rollouts.samples import draw


def greedy_samples(model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig) -> list[Sample]:
    """The likeliest-token completion of each task's prompt, ready to be scored."""
    greedy = sampling.model_copy(update={"temperature": 0.0})
    return [sample for (sample,) in draw(HFEngine(model, tokenizer), tokenizer, tasks, greedy)]
