"""Rotary frequencies that depend on a row's length: a row gets what it gets alone, in every kind of batch and in sampling."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
)

from rlllm.policies.loading import load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.policies.padding import padded
from rlllm.policies.rope import by_row, frequencies_change, length_threshold, outgrows_cache
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.hf import HFEngine
from rlllm.rollouts.engines.native.engine import NativeEngine

SIZES: dict[str, Any] = {
    "vocab_size": 1024,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "initializer_range": 0.5,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [8.0] * 8,
    "original_max_position_embeddings": 24,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
CONFIGS = {
    "phi3": Phi3Config(
        **SIZES, max_position_embeddings=128, original_max_position_embeddings=24, rope_parameters=dict(LONGROPE)
    ),
    "llama longrope": LlamaConfig(**SIZES, max_position_embeddings=128, rope_parameters=dict(LONGROPE)),
    "llama dynamic": LlamaConfig(**SIZES, max_position_embeddings=24, rope_parameters=DYNAMIC),
    "llama": LlamaConfig(**SIZES),
}
LENGTHS = (10, 24, 25, 31, 40, 3)
"""Tokens of rows on both sides of the threshold of 24."""


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Any:
    return made(CONFIGS[request.param])


def made(config: PreTrainedConfig, loader: Any = AutoModelForCausalLM) -> Any:
    torch.manual_seed(0)
    return by_row(loader.from_config(deepcopy(config)).eval())


def rows() -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(2, 64, (length,), generator=generator).tolist() for length in LENGTHS]


def alone(model: Any, row: list[int]) -> torch.Tensor:
    """Logits (T, V) of a row in a pass of its own."""
    return model(input_ids=torch.tensor([row])).logits[0]


@pytest.mark.parametrize("left", [False, True], ids=["padded behind", "padded before"])
@pytest.mark.parametrize("placed", [False, True], ids=["no position ids", "position ids"])
def test_a_row_of_a_batch_has_the_logits_that_it_has_alone(model: Any, left: bool, placed: bool) -> None:
    ids, mask = (torch.tensor(part) for part in padded(rows(), 0, left=left))
    positions = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if placed else {}
    with torch.no_grad():
        together = model(input_ids=ids, attention_mask=mask, **positions).logits
        for row, real, logits in zip(rows(), mask.bool(), together, strict=True):
            torch.testing.assert_close(logits[real], alone(model, row), atol=2e-4, rtol=1e-3)


def test_what_transformers_makes_of_such_a_batch_is_something_else() -> None:
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(deepcopy(CONFIGS["phi3"])).eval()
    ids, mask = (torch.tensor(part) for part in padded(rows(), 0))
    with torch.no_grad():
        together = plain(input_ids=ids, attention_mask=mask).logits[0, : LENGTHS[0]]
        assert not torch.allclose(together, alone(plain, rows()[0]), atol=0.1)


def test_the_gradient_of_a_batch_is_the_sum_of_those_of_its_rows(model: Any) -> None:
    ids, mask = (torch.tensor(part) for part in padded(rows(), 0))
    labels = ids.masked_fill(mask == 0, -100)
    model.train()

    def gradient(parts: list[slice]) -> torch.Tensor:
        model.zero_grad()
        for part in parts:
            logits = model(input_ids=ids[part], attention_mask=mask[part]).logits[:, :-1]
            torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), labels[part][:, 1:].flatten(), reduction="sum"
            ).backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters()])

    whole, single = gradient([slice(0, 6)]), gradient([slice(row, row + 1) for row in range(6)])
    assert float((whole - single).norm() / single.norm()) < 1e-4


def test_a_classifier_scores_a_row_as_it_does_alone() -> None:
    scorer = made(CONFIGS["phi3"], AutoModelForSequenceClassification)
    ids, mask = (torch.tensor(part) for part in padded(rows(), 0))
    with torch.no_grad():
        together = scorer(input_ids=ids, attention_mask=mask).logits
        single = [scorer(input_ids=torch.tensor([row])).logits[0] for row in rows()]
    torch.testing.assert_close(together, torch.stack(single), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("engine", [NativeEngine, HFEngine])
def test_greedy_tokens_are_those_of_a_pass_without_cache_across_the_threshold(model: Any, engine: Any) -> None:
    tokenizer = load_tokenizer(resolve_model("nano"))
    prompts = [rows()[0], rows()[0], rows()[1], rows()[3], rows()[5]]
    sampling = SamplingConfig(max_new_tokens=24, temperature=0.0, batch_size=4)
    completions = engine(model, tokenizer).generate(prompts, sampling)
    for prompt, completion in zip(prompts, completions, strict=True):
        for place, token in enumerate(completion):
            with torch.no_grad():
                logits = alone(model, [*prompt, *completion[:place]])[-1]
            assert logits[token] >= logits.max() - 1e-3


def test_copies_and_saved_models_stay_right(tmp_path: Path) -> None:
    model = made(CONFIGS["phi3"])
    ids, mask = (torch.tensor(part) for part in padded(rows(), 0))
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask).logits
        for other in (deepcopy(model), by_row(AutoModelForCausalLM.from_pretrained(tmp_path)), by_row(model)):
            torch.testing.assert_close(other(input_ids=ids, attention_mask=mask).logits, expected)
    assert not [name for name in AutoModelForCausalLM.from_pretrained(tmp_path).state_dict() if "rotary" in name]


def test_the_threshold_is_read_from_every_form_of_a_config() -> None:
    assert [length_threshold(config) for config in CONFIGS.values()] == [24, 24, 24, None]
    layered = LlamaConfig(**SIZES)
    layered.rope_parameters = {"full_attention": dict(LONGROPE), "sliding_attention": {"rope_type": "default"}}
    assert length_threshold(layered) == 24


CHANGES = [
    ("phi3", [24, 3], False),
    ("phi3", [25, 3], True),
    ("phi3", [26, 3], False),
    ("llama dynamic", [24, 3], False),
    ("llama dynamic", [26, 3], True),
    ("llama", [9999], False),
]


@pytest.mark.parametrize(("name", "lengths", "expected"), CHANGES)
def test_cached_keys_are_outdated_where_a_token_changes_the_frequencies(
    name: str, lengths: list[int], expected: bool
) -> None:
    assert frequencies_change(CONFIGS[name], torch.tensor(lengths)) is expected


def test_a_cache_is_outgrown_beyond_the_threshold() -> None:
    model = made(CONFIGS["phi3"])
    assert (outgrows_cache(model, 24), outgrows_cache(model, 25)) == (False, True)
