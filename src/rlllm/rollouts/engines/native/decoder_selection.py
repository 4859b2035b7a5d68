"""Choose the decoder of a model, with the reason why it is not a better one.

`fast` is a decoder of our own for the Llama family in float32; `generic` the model's own forward pass and cache; `generate` the
`hf` engine. The first is taken that fits the model's structure and computes what the model computes, tried on a few tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rlllm.core.errors import describe
from rlllm.rollouts.engines.native import generic_decoder, weight_layout
from rlllm.rollouts.engines.native.generic_decoder import GenericDecoder
from rlllm.rollouts.engines.native.llama_decoder import LlamaDecoder


@dataclass(frozen=True)
class Tier:
    """A way to decode: its name, what is against it for a model, its decoder, and what keeps gradients off."""

    name: str
    refusal: Callable[[Any], str | None]
    decoder: type[Any]
    gradless: Callable[[], Any]


TIERS = (
    Tier("fast", weight_layout.refusal, LlamaDecoder, torch.inference_mode),
    # a model's own code may keep tensors it made, which must not be inference tensors when it trains
    Tier("generic", generic_decoder.refusal, GenericDecoder, torch.no_grad),
)

_AGREES: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "min_p": (None, 0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "num_beams": (None, 1),
    "top_h": (None, 1),
    "typical_p": (None, 1),
    "epsilon_cutoff": (None, 0),
    "eta_cutoff": (None, 0),
    "repetition_penalty": (None, 1),
    "no_repeat_ngram_size": (None, 0),
    "guidance_scale": (None, 1),
    "remove_invalid_values": (None, False),
}
_UNSET = (
    "stop_strings",
    "max_time",
    "bad_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "watermarking_config",
    "penalty_alpha",
    "dola_layers",
)


def best_tier(model: Any, tiers: Sequence[Tier]) -> tuple[Tier | None, str]:
    """The first tier that decodes as the model does, and what is against those before it."""
    if steered := _rollout_to_learn_from(model.generation_config):
        return None, steered
    reasons: list[str] = []
    for tier in tiers:
        reason = _against(model, tier)
        if reason is None:
            return tier, "; ".join(reasons)
        reasons.append(f"not {tier.name}: {reason}")
    return None, "; ".join(reasons)


def _rollout_to_learn_from(config: Any) -> str | None:
    neutral = {**_NEUTRAL, **dict.fromkeys(_UNSET, (None,))}
    named = [name for name, values in neutral.items() if getattr(config, name, None) not in values]
    return f"the generation config sets {', '.join(named)}" if named else None


def _against(model: Any, tier: Tier) -> str | None:
    try:
        return tier.refusal(model) or _disagreement(model, tier)
    except Exception as error:  # whatever a foreign model does here, the next tier can still run it
        return describe(error)


def _disagreement(model: Any, tier: Tier) -> str | None:
    """What differs between a decoder and the model's own forward pass on a few tokens; looked at once for a model."""
    if tier.name in _AGREES.setdefault(model, set()):
        return None
    was_training = model.training
    model.eval()
    try:
        off, scale = _compare(model, tier)
    finally:
        model.train(was_training)
    allowed = 1e-3 if model.dtype == torch.float32 else 5e-2
    if not off <= allowed * (1 + scale):  # nan too
        return f"its logits differ from the model's by {off:.2g}"
    _AGREES[model].add(tier.name)
    return None


def _compare(model: Any, tier: Tier) -> tuple[float, float]:
    """Largest difference of logits, and largest logit: two prompts, three rows, two tokens, one row dropped."""
    size = weight_layout.base_of(model).get_input_embeddings().num_embeddings
    prompts = [[(7 * i + 1) % size for i in range(length)] for length in (3, 5)]
    rows = [list(prompts[0]), list(prompts[0]), list(prompts[1])]
    with tier.gradless():
        decoder = tier.decoder(model)
        states = decoder.prefill(prompts, [0, 0, 1], 3)
        given = [decoder.logits(states)]
        for offset in (1, 2):
            tokens = [(offset * row + 2) % size for row in range(len(rows))]
            for row, token in zip(rows, tokens, strict=True):
                row.append(token)
            given.append(decoder.logits(decoder.advance(torch.tensor(tokens, device=states.device))))
            if offset == 1:
                decoder.keep([1, 2])
                del rows[0]
    with torch.no_grad():
        wanted = [model(input_ids=torch.tensor([row], device=states.device)).logits[0, -3:] for row in rows]
    pairs: list[tuple[Tensor, Tensor]] = [
        (step[-len(rows) :][row], wanted[row][index]) for index, step in enumerate(given) for row in range(len(rows))
    ]
    return max(float((a - b).abs().max()) for a, b in pairs), max(float(b.abs().max()) for _, b in pairs)
