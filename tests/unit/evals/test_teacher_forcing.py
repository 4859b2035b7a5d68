"""The entropy along completions equals what NumPy makes of the model's logits, whatever the padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlllm.core.records import Conversation, Sample
from rlllm.evals.teacher_forcing import encode, token_entropies
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model


def test_entropies_are_those_of_the_next_token_over_the_completion_and_its_end(tiny_model: str) -> None:
    source = resolve_model(tiny_model)
    model, tokenizer = load_policy(source, bf16=False), load_tokenizer(source)
    drawn = [[Sample("1 + 1 = ?", "2"), Sample("1 + 1 = ?", "a much longer one")], [Sample("Why?", "")]]
    found = token_entropies(model, tokenizer, drawn)
    for samples, entropies in zip(drawn, found, strict=True):
        for one, entropy in zip(samples, entropies, strict=True):
            tokens = encode(tokenizer, Conversation(one.prompt, one.completion))
            ids, begin = tokens.ids, tokens.trains.index(True)
            with torch.inference_mode():
                logits = model(torch.tensor([ids])).logits[0, begin - 1 : -1].double().numpy()
            chances = np.exp(logits - logits.max(-1, keepdims=True))
            chances /= chances.sum(-1, keepdims=True)
            assert len(logits) == len(one.completion) + 1
            assert entropy == pytest.approx(float(-(chances * np.log(chances)).sum(-1).mean()), abs=1e-5)


def test_many_completions_are_measured_in_parts_with_the_same_numbers(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = resolve_model(tiny_model)
    model, tokenizer = load_policy(source, bf16=False), load_tokenizer(source)
    drawn = [[Sample("1 + 1 = ?", "a" * length) for length in (2, 9, 4)]]
    whole = token_entropies(model, tokenizer, drawn)
    monkeypatch.setattr("rlllm.evals.teacher_forcing.LOGITS", 1)
    assert token_entropies(model, tokenizer, drawn)[0] == pytest.approx(whole[0], abs=1e-5)


def test_what_a_template_writes_behind_a_completion_is_not_measured(tiny_model: str) -> None:
    source = resolve_model(tiny_model)
    model, tokenizer = load_policy(source, bf16=False), load_tokenizer(source)
    drawn = [[Sample("1 + 1 = ?", "2")]]
    plain = token_entropies(model, tokenizer, drawn)
    tokenizer.chat_template += "{% if not add_generation_prompt %}{{ 'and so on' }}{% endif %}"
    assert token_entropies(model, tokenizer, drawn) == plain
