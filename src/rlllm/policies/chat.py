"""The chat format of prompts and completions, the same for training, evaluation and rewards.

A tokenizer with a chat template gets messages (a plain prompt becomes one user turn); a tokenizer without one gets plain text.
The tokenizer's own template renders messages, so training and generation use the same text, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import Message, Prompt


def is_chat(tokenizer: Any) -> bool:
    return bool(tokenizer.chat_template)


def as_prompt(tokenizer: Any, prompt: Prompt) -> Prompt:
    """The prompt in the form this tokenizer takes: messages if it has a chat template, else text."""
    if is_chat(tokenizer):
        return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if isinstance(prompt, str):
        return prompt
    raise DataError(
        "the data holds chat messages, but the model's tokenizer has no chat template",
        given=str(prompt)[:120],
        hint="use a chat (instruct) model, or give prompts as plain text",
    )


def as_completion(tokenizer: Any, completion: str) -> str | list[Message]:
    """The completion in the form TRL pairs with `as_prompt`."""
    return [{"role": "assistant", "content": completion}] if is_chat(tokenizer) else completion


def completion_text(completion: str | list[Message]) -> str:
    """The text of a completion as TRL hands it to rewards: a string, or messages."""
    if isinstance(completion, str):
        return completion
    return "".join(message.get("content") or "" for message in completion)


def encode_prompts(tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Token ids of each prompt, generation prompt included."""
    if is_chat(tokenizer):
        conversations = [as_prompt(tokenizer, prompt) for prompt in prompts]
        return tokenizer.apply_chat_template(
            conversations, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"]
    return tokenizer([as_prompt(tokenizer, prompt) for prompt in prompts])["input_ids"]
