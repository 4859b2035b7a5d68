"""Forward passes over prompt and completion (teacher forcing): tokenised rows, and the entropy along completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import Conversation, Sample, full_text
from rlllm.core.watchdog import sign
from rlllm.policies import chat
from rlllm.policies.padding import padded
from rlllm.policies.turn_masks import Tokens, encode_conversation
from rlllm.policies.vision import following_image_inputs


def encode(tokenizer: Any, record: Conversation) -> Tokens:
    """Token ids of prompt and completion, and which of them a training on the record reads."""
    if not record.prompt:
        ids = tokenizer(full_text(record.completion) + tokenizer.eos_token)["input_ids"]
        return Tokens(ids, [place > 0 for place in range(len(ids))])
    if chat.is_chat(tokenizer):
        return encode_conversation(tokenizer, record)
    begin = len(chat.encode_prompts(tokenizer, [record.prompt])[0])
    completion = chat.as_completion(tokenizer, record.completion)
    ids = tokenizer(str(record.prompt) + full_text(completion) + tokenizer.eos_token)["input_ids"]
    return Tokens(ids, [place >= begin for place in range(len(ids))])


def batch(
    tokenizer: Any, rows: Sequence[Sequence[int]], prompts: Sequence[Sequence[int] | None], device: Any
) -> dict[str, Any]:
    """What a model takes for these rows: token ids and attention mask, padded on the right, and its images.

    Args:
        prompts: the beginning of each row as `encode_prompts` gives it; None where it has no image.
    """
    import torch

    ids, mask = padded(rows, tokenizer.pad_token_id)
    inputs = {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}
    return {**inputs, **following_image_inputs(tokenizer, prompts, inputs["input_ids"])}


LOGITS = 1 << 26
"""Logits computed at once, at most, unless one completion alone has more: 256 MB in float32."""


def token_entropies(model: Any, tokenizer: Any, completions: Sequence[Sequence[Sample]]) -> list[list[float]]:
    """Mean entropy (nats) of the next-token distribution, at temperature 1, over each completion's tokens and its end.

    Args:
        completions: for each problem, its completions.
    """
    was_training = model.training
    model.eval()
    vocabulary = model.get_input_embeddings().num_embeddings
    entropies = []
    for samples in completions:
        rows = [_as_sampled(tokenizer, sample) for sample in samples]
        size = max(1, LOGITS // (vocabulary * max(len(row) for row, _ in rows)))
        parts = [rows[first : first + size] for first in range(0, len(rows), size)]
        entropies.append([value for part in parts for value in _entropies(model, tokenizer, part)])
    model.train(was_training)
    return entropies


def _as_sampled(tokenizer: Any, sample: Sample) -> tuple[list[int], list[int]]:
    """Token ids of prompt and completion as an engine has them, without an end, and the prompt."""
    prompt = chat.encode_prompts(tokenizer, [sample.prompt], [sample.meta])[0]
    return [*prompt, *tokenizer(sample.completion, add_special_tokens=False)["input_ids"]], prompt


def _entropies(model: Any, tokenizer: Any, rows: list[tuple[list[int], list[int]]]) -> list[float]:
    import torch

    sign()
    inputs = batch(tokenizer, [row for row, _ in rows], [prompt for _, prompt in rows], model.device)
    with torch.inference_mode():
        logits = model(**inputs, use_cache=False).logits.float()
        logps = torch.log_softmax(logits, -1)
        tokens = -(logps.exp() * logps).sum(-1)
    return [float(tokens[at, max(len(prompt) - 1, 0) : len(row)].mean()) for at, (row, prompt) in enumerate(rows)]
