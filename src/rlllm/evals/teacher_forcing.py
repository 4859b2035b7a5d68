"""What a model says of texts that are there already: one forward pass over prompt and completion, nothing sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.padding import padded
from rlllm.core.records import Conversation, Sample
from rlllm.policies import chat


def encode(tokenizer: Any, record: Conversation) -> tuple[list[int], int]:
    """Token ids of prompt and completion, and where the completion begins."""
    if not record.prompt:
        return tokenizer(record.completion + tokenizer.eos_token)["input_ids"], 1
    prompt = chat.encode_prompts(tokenizer, [record.prompt])[0]
    if chat.is_chat(tokenizer):
        messages = [*chat.as_prompt(tokenizer, record.prompt), *chat.as_completion(tokenizer, record.completion)]
        return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"], len(prompt)
    return tokenizer(str(record.prompt) + record.completion + tokenizer.eos_token)["input_ids"], len(prompt)


def batch(rows: list[tuple[list[int], int]], pad: int, device: Any) -> tuple[Any, Any]:
    """Token ids and attention mask of rows, padded on the right."""
    import torch

    ids, mask = padded([row for row, _ in rows], pad)
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def token_entropies(model: Any, tokenizer: Any, drawn: Sequence[Sequence[Sample]]) -> list[list[float]]:
    """Mean entropy (nats) of the next-token distribution, at temperature 1, over each completion's tokens and its end.

    Args:
        drawn: for each problem, its completions.
    """
    import torch

    was_training = model.training
    model.eval()
    entropies = []
    with torch.inference_mode():
        for samples in drawn:
            rows = [encode(tokenizer, Conversation(one.prompt, one.completion)) for one in samples]
            ids, mask = batch(rows, tokenizer.pad_token_id, model.device)
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
            logps = torch.log_softmax(logits, -1)
            tokens = -(logps.exp() * logps).sum(-1)
            entropies.append(
                [float(tokens[at, start - 1 : len(row) - 1].mean()) for at, (row, start) in enumerate(rows)]
            )
    model.train(was_training)
    return entropies
