"""What the roles of a dialogue say, sampled by one policy, or by the adapter of each role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import PromptTask, Sample
from rlllm.policies.chat import encode_prompts
from rlllm.policies.loading import context_length
from rlllm.policies.role_adapters import RoleAdapters
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.dialogue.play import Speak
from rlllm.rollouts.engines.base import Engine
from rlllm.rollouts.samples import draw


def speaker(
    open_engine: Callable[[], Engine], tokenizer: Any, sampling: SamplingConfig, adapters: RoleAdapters | None = None
) -> Speak:
    """A function that samples one completion of each task's prompt.

    It raises DataError for a prompt that leaves no room for a completion in the model's context: prompts of a dialogue grow
    with what was said, so that no check of the data finds them.

    Args:
        open_engine: an engine for the policy as it is when this is called.
        adapters: of the roles. Without, the policy speaks for whichever role is named.
    """
    shared = open_engine() if adapters is None else None

    def speak(tasks: Sequence[PromptTask], role: str = "") -> list[Sample]:
        if adapters is not None:
            adapters.activate(role)
        engine = shared or open_engine()  # an engine may copy the weights of the adapter that is active
        window = context_length(engine.model)
        if window is not None:
            ids = encode_prompts(tokenizer, [task.prompt for task in tasks], [task.meta for task in tasks])
            longest = max(map(len, ids), default=0)
            if longest + sampling.max_new_tokens > window:
                raise DataError(
                    "a turn of a dialogue does not fit into the model's context",
                    given=f"{longest:,} tokens of its prompt and {sampling.max_new_tokens:,} of an answer, of {window:,}",
                    hint="dialogue.history=0 shows no earlier turns; or a lower max_new_tokens",
                )
        return [row[0] for row in draw(engine, tokenizer, tasks, sampling)]

    return speak
