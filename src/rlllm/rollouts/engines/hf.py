"""The `hf` engine: transformers' `generate` in this process. It is slow; the other engines are tested against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rlllm.policies.padding import padded
from rlllm.policies.rope import outgrows_cache
from rlllm.policies.vision import image_inputs, image_token
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine


class HFEngine(Engine):
    """Sample completions with transformers' `generate`."""

    reads_images = True

    @torch.no_grad()
    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        """Completion token ids for each prompt, up to and including the first end-of-sequence token.

        Prompts are decoded in batches of `sampling.batch_size`, longest first, so that little is padded; the order of
        the result is the order of `prompts`. Draws from the global torch RNG: seed it for repeatable results.
        """
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
        completions: list[list[int]] = [[] for _ in prompts]
        was_training = self.model.training
        self.model.eval()
        for start in range(0, len(order), sampling.batch_size):
            chunk = order[start : start + sampling.batch_size]
            for index, ids in zip(chunk, self._batch([prompts[i] for i in chunk], sampling), strict=True):
                completions[index] = ids
        self.model.train(was_training)
        return completions

    def _batch(self, prompts: list[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        pad = self.tokenizer.pad_token_id
        device = self.model.device
        ids, mask = (torch.tensor(part, device=device) for part in padded(prompts, pad, left=True))
        stops = self.stop_ids()
        choice: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            choice = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
            }
        unwritten = image_token(self.model)
        if unwritten is not None:
            choice["suppress_tokens"] = [unwritten]
        output = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            **image_inputs(self.tokenizer, prompts, device),
            max_new_tokens=sampling.max_new_tokens,
            pad_token_id=pad,
            eos_token_id=sorted(stops),
            use_cache=not outgrows_cache(self.model, ids.size(1) + sampling.max_new_tokens),
            **choice,
        )
        return [_until_stop(row, stops) for row in output[:, ids.size(1) :].tolist()]


def _until_stop(ids: list[int], stops: set[int]) -> list[int]:
    for position, token in enumerate(ids):
        if token in stops:
            return ids[: position + 1]
    return ids
