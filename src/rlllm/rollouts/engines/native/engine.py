"""The `native` engine: decoding for reinforcement learning, where many completions share a prompt.

A prompt is encoded once for all its completions, rows that have ended leave the batch, and a token is sampled without drawing a
random number for each token of the vocabulary. `decoder_selection` chooses among three ways to decode, depending on the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rlllm.core.watchdog import sign
from rlllm.policies.vision import PromptWithImages
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine
from rlllm.rollouts.engines.hf import HFEngine
from rlllm.rollouts.engines.native.decoder_selection import TIERS, Tier, best_tier
from rlllm.rollouts.engines.native.token_sampling import choose, seeded
from rlllm.rollouts.engines.native.weight_layout import window

_CHOICE_ROWS = 64
"""Rows whose logits exist at once."""
_DROPPED_SHARE = 8
"""Rows are dropped when one in so many has ended: moving the others' keys and values costs something too."""

Batch = list[tuple[Sequence[int], list[int]]]
"""Distinct prompts, each with the rows that continue it."""


class NativeEngine(Engine):
    """Sample completions quickly. `tier` is `fast`, `generic` or `generate`; `reason` says why it is not a better one.

    Prompts with images are given to transformers' `generate`.
    """

    reads_images = True
    reports_logps = True

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        self._hf = HFEngine(model, tokenizer)
        self._tier, self.reason = best_tier(model, TIERS)
        self.tier = self._tier.name if self._tier else "generate"

    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        """Completion token ids for each prompt, up to and including the first end-of-sequence token.

        Equal prompts are decoded together, at most `sampling.batch_size` rows at once, longest first; the order of the
        result is the order of `prompts`. Draws from the global torch RNG: seed it for repeatable results. Sets `logps`, unless
        transformers' `generate` decodes.

        Raises:
            NoDistributionError: the model's logits are no distribution.
        """
        tier = self._tier_for(prompts, sampling)
        self.logps = None
        if tier is None:
            return self._hf.generate(prompts, sampling)
        completions: list[list[int]] = [[] for _ in prompts]
        logps: list[list[float]] = [[] for _ in prompts]
        if not prompts:
            return completions
        stops = self.stop_ids()
        was_training = self.model.training
        self.model.eval()
        try:
            with tier.gradless():
                decoder = tier.decoder(self.model)
                for batch in batches(prompts, sampling.batch_size):
                    _decode(decoder, batch, sampling, stops, (completions, logps), self.seeds)
        finally:
            self.model.train(was_training)
        self.logps = logps
        return completions

    def _tier_for(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> Tier | None:
        if not all(prompts) or any(isinstance(prompt, PromptWithImages) for prompt in prompts):
            return None
        if self.tier == "fast" and prompts:
            limit = window(self.model)
            if limit and max(map(len, prompts)) + sampling.max_new_tokens > limit:
                return best_tier(self.model, TIERS[1:])[0]
        return self._tier


def _decode(
    decoder: Any,
    batch: Batch,
    sampling: SamplingConfig,
    stops: set[int],
    into: tuple[list[list[int]], list[list[float]]],
    seeds: Sequence[int] | None,
) -> None:
    """Continue every row of a batch, into its lists of tokens and of their log-probabilities.

    With a seed for each of all rows, each is drawn by random numbers of its own.
    """
    completions, logps = into
    rows = [row for _, members in batch for row in members]
    owners = [index for index, (_, members) in enumerate(batch) for _ in members]
    states = decoder.prefill([prompt for prompt, _ in batch], owners, sampling.max_new_tokens)
    alive = list(range(len(rows)))
    draws = None if seeds is None else seeded([seeds[row] for row in rows], sampling.max_new_tokens, states.device)
    for left in reversed(range(sampling.max_new_tokens)):
        sign()
        now = None if draws is None else draws[:, sampling.max_new_tokens - 1 - left].split(_CHOICE_ROWS)
        parts = enumerate(states.split(_CHOICE_ROWS))
        chosen = [choose(decoder.logits(part), sampling, now and now[index]) for index, part in parts]
        tokens = torch.cat([part for part, _ in chosen])
        new_tokens, new_logps = tokens.tolist(), torch.cat([part for _, part in chosen]).log().tolist()
        for position in alive:
            row = rows[position]
            completions[row].append(new_tokens[position])
            logps[row].append(new_logps[position])
        alive = [position for position in alive if new_tokens[position] not in stops]
        if not alive or not left:
            return
        if (len(rows) - len(alive)) * _DROPPED_SHARE >= len(rows):
            decoder.keep(alive)
            tokens = tokens[alive]
            draws = None if draws is None else draws[alive]
            rows = [rows[position] for position in alive]
            alive = list(range(len(rows)))
        states = decoder.advance(tokens)


def batches(prompts: Sequence[Sequence[int]], size: int) -> list[Batch]:
    """Rows by prompt, longest first, at most `size` in a batch; only a prompt with more rows than that is cut in two."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt), []).append(row)
    batched: list[Batch] = []
    free = 0
    for prompt, rows in sorted(groups.items(), key=lambda group: len(group[0]), reverse=True):
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            if len(part) > free:
                batched.append([])
                free = size
            batched[-1].append((prompt, part))
            free -= len(part)
    return batched
