"""A causal language model on this machine as a judge: greedy replies, and no prompt cut short to fit its context."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlllm.core.errors import ConfigError, ModelError
from rlllm.policies.chat import add_end_of_turn
from rlllm.policies.loading import context_length
from rlllm.policies.padding import padded
from rlllm.rewards.http.endpoint import Refusal, Reply
from rlllm.rewards.models import pretrained


@dataclass(frozen=True)
class LocalJudge:
    """Replies of a transformers model, decoded greedily; loaded on first use, on an accelerator if there is one.

    A prompt becomes one user turn where the tokenizer has a chat template, else plain text. A prompt that leaves no room
    for `max_new_tokens` in the model's context is refused: half of a comparison would be judged as if it were the whole.

    Args:
        path: folder of a causal language model, or a Hub id.
        max_new_tokens: length limit of a reply.
        batch_size: prompts decoded at once.
    """

    path: str
    max_new_tokens: int = 256
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise ConfigError(
                "judge: max_new_tokens and batch_size must be positive",
                given=f"{self.max_new_tokens}, {self.batch_size}",
            )
        if pretrained.is_local(self.path):
            _refuse_classifiers(self.path)

    def complete(self, prompts: Sequence[str]) -> list[Reply]:
        """One reply for each prompt, in order."""
        tokenizer, model = self._loaded
        encoded = [_encode(tokenizer, prompt) for prompt in prompts]
        room = (context_length(model) or sys.maxsize) - self.max_new_tokens
        replies: list[Reply] = [
            Refusal(f"the prompt has {len(ids)} tokens, and the judge's context leaves {max(room, 0)}")
            for ids in encoded
        ]
        fitting = sorted((i for i, ids in enumerate(encoded) if len(ids) <= room), key=lambda i: -len(encoded[i]))
        for start in range(0, len(fitting), self.batch_size):
            chunk = fitting[start : start + self.batch_size]
            for index, reply in zip(chunk, self._generate([encoded[i] for i in chunk]), strict=True):
                replies[index] = reply
        return replies

    def _generate(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        import torch

        from rlllm.policies.rope import outgrows_cache

        tokenizer, model = self._loaded
        pad = tokenizer.pad_token_id
        ids, mask = (torch.tensor(part, device=model.device) for part in padded(prompts, pad, left=True))
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                pad_token_id=pad,
                use_cache=not outgrows_cache(model, ids.size(1) + self.max_new_tokens),
            )
        return list(tokenizer.batch_decode(output[:, ids.size(1) :], skip_special_tokens=True))

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        tokenizer, model, missing = pretrained.load("AutoModelForCausalLM", self.path, "judge", dtype="auto")
        if missing:
            raise _no_writer(f"{self.path} (its weights lack {min(missing)})")
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        add_end_of_turn(model, tokenizer)
        return tokenizer, model


def _refuse_classifiers(folder: str) -> None:
    """With tied embeddings a classifier loads as a language model without a word, and writes noise."""
    architectures, _ = pretrained.declared(folder, "judge")
    if any(name.endswith("Classification") for name in architectures):
        raise _no_writer(f"{folder} ({', '.join(architectures)})")


def _no_writer(given: str) -> ModelError:
    return ModelError(
        "the judge must be a causal language model that writes text",
        given=given,
        hint="a scalar reward model is named by {name: model, path: ...}",
    )


def _encode(tokenizer: Any, prompt: str) -> list[int]:
    if not tokenizer.chat_template:
        return list(tokenizer(prompt)["input_ids"])
    turn = [{"role": "user", "content": prompt}]
    return list(
        tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
    )
