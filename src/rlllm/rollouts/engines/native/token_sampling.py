"""Sample the next token of every row with transformers' temperature, top-k and top-p, without sorting the whole vocabulary.

The distributions are those of `generate`. The samples differ: a token is found by inverting a cumulative sum, where `generate`
draws one random number for each token of the vocabulary, which for a large vocabulary costs as much as the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rlllm.rollouts.config import SamplingConfig

BLOCK = 256
"""Tokens of a large vocabulary that are drawn among at once, after one of the blocks was drawn."""
HEAD = 512
"""Likeliest tokens looked at first for a nucleus."""


class NoDistributionError(RuntimeError):
    """Logits are nan or infinite: the policy has diverged, even if its weights still are numbers."""


def seeded(seeds: Sequence[int], steps: int, device: Any) -> Tensor:
    """(rows, steps, 2) uniform numbers, those of each row from its own seed."""
    generator = torch.Generator()
    rows = [torch.rand(steps, 2, generator=generator.manual_seed(seed), dtype=torch.float64) for seed in seeds]
    return torch.stack(rows).to(device)


def choose(logits: Tensor, sampling: SamplingConfig, uniform: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One token a row, and how likely it was.

    Args:
        logits: (rows, V); may be overwritten.
        sampling: a temperature of 0 takes the likeliest token.
        uniform: (rows, 2) uniform numbers to draw by; None draws them from the global generator of the device.

    Returns:
        (rows,) token ids, and (rows,) probabilities of these in the distribution they were drawn from; those of a temperature
        of 0 are 1.

    Raises:
        NoDistributionError: a row has no distribution (nan or infinite logits).
    """
    if sampling.temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, torch.ones_like(tokens, dtype=torch.float32)
    scores = logits.float()
    if sampling.temperature != 1:
        scores = scores.div_(sampling.temperature)
    limit = min(sampling.top_k, scores.size(1))
    if limit:
        # not the k tokens themselves: like transformers, whoever ties with the k-th stays
        least = scores.topk(limit).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    probabilities = scores.softmax(-1)
    if sampling.top_p < 1:
        return _draw_nucleus(probabilities, sampling.top_p, limit, uniform)
    tokens = _draw(probabilities, uniform)
    return tokens, probabilities.gather(1, tokens.unsqueeze(1)).squeeze(1)


def _draw(probabilities: Tensor, uniform: Tensor | None) -> Tensor:
    """(rows,) indices drawn with (rows, V) probabilities: first a block of the vocabulary, then a token of it."""
    size = probabilities.size(1)
    if size <= 2 * BLOCK:
        return _invert(probabilities, _uniform(probabilities, 1, uniform)[0])
    full_blocks = size // BLOCK
    sums = probabilities[:, : full_blocks * BLOCK].unflatten(1, (full_blocks, BLOCK)).sum(-1)
    if size % BLOCK:
        sums = torch.cat((sums, probabilities[:, full_blocks * BLOCK :].sum(-1, keepdim=True)), 1)
    first, second = _uniform(probabilities, 2, uniform)
    start = _invert(sums, first).mul_(BLOCK).unsqueeze(1)
    members = start + torch.arange(BLOCK, device=start.device)
    chances = probabilities.gather(1, members.clamp(max=size - 1)).masked_fill_(members >= size, 0)
    return start.squeeze(1).add_(_invert(chances, second))


def _draw_nucleus(probabilities: Tensor, top_p: float, limit: int, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """(rows,) indices among the likeliest tokens that together first reach `top_p`, and their shares of these."""
    size = probabilities.size(1)
    count = min(size, max(HEAD, limit))
    while True:
        chances, tokens = probabilities.topk(count)
        before = chances.cumsum(-1) - chances
        # the nucleus ends inside the head when all that follows it would start at top_p or later
        if count == size or not bool((before[:, -1] + chances[:, -1] < top_p).any()):
            break
        count = min(size, count * 8)
    chances = chances.masked_fill_(before >= top_p, 0)
    picked = _invert(chances, _uniform(chances, 1, uniform)[0]).unsqueeze(1)
    shares = chances.gather(1, picked) / chances.sum(-1, keepdim=True)
    return tokens.gather(1, picked).squeeze(1), shares.squeeze(1)


def _uniform(like: Tensor, count: int, given: Tensor | None) -> Tensor:
    """(count, rows) uniform numbers: the given ones, or new ones."""
    if given is not None:
        return given[:, :count].T
    return torch.rand(count, like.size(0), dtype=torch.float64, device=like.device)


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """(rows,) the first column at which the cumulative sum of (rows, n) weights exceeds that share of the whole."""
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    if not bool(total.isfinite().all()):
        raise NoDistributionError(
            "no token can be sampled: the probabilities contain nan (the logits were nan or infinite)"
        )
    columns = torch.searchsorted(cumulative, total * uniform.unsqueeze(1), right=True)
    return columns.squeeze(1).clamp_(max=weights.size(1) - 1)
