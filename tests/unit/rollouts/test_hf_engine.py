"""The hf engine: the reference every other engine is measured against."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from rlllm.policies.chat import encode_prompts
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import RolloutConfig, SamplingConfig
from rlllm.rollouts.engines.hf import HFEngine

END = 257
PROMPTS = ["a", "a much longer prompt than the others", "bb", "ccc"]
GREEDY = SamplingConfig(temperature=0, max_new_tokens=6)


@pytest.fixture(scope="module")
def engine(tiny_model: str) -> HFEngine:
    source = resolve_model(tiny_model)
    return HFEngine(load_policy(source), load_tokenizer(source))


@pytest.fixture(scope="module")
def prompts(engine: HFEngine) -> list[list[int]]:
    return encode_prompts(engine.tokenizer, PROMPTS)


def step_by_step(engine: HFEngine, prompt: list[int], steps: int) -> list[int]:
    """Greedy decoding written down: the likeliest token, one forward pass at a time, no cache and no padding."""
    ids = list(prompt)
    for _ in range(steps):
        with torch.no_grad():
            ids.append(int(engine.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == END:
            break
    return ids[len(prompt) :]


def test_greedy_completions_are_the_likeliest_tokens(engine: HFEngine, prompts: list[list[int]]) -> None:
    assert engine.generate(prompts, GREEDY) == [step_by_step(engine, prompt, 6) for prompt in prompts]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_results_come_in_the_order_of_the_prompts_whatever_the_batch(
    engine: HFEngine, prompts: list[list[int]], batch_size: int
) -> None:
    sampling = GREEDY.model_copy(update={"batch_size": batch_size})
    assert engine.generate(prompts, sampling) == engine.generate(prompts, GREEDY)


def test_the_same_seed_samples_the_same(engine: HFEngine, prompts: list[list[int]]) -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(engine.generate(prompts, SamplingConfig(max_new_tokens=6)))
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_sampling_among_one_token_is_greedy(engine: HFEngine, prompts: list[list[int]]) -> None:
    assert engine.generate(prompts, SamplingConfig(top_k=1, max_new_tokens=6)) == engine.generate(prompts, GREEDY)


def test_a_completion_has_at_most_the_tokens_asked_for(engine: HFEngine, prompts: list[list[int]]) -> None:
    torch.manual_seed(0)
    sampled = engine.generate(prompts, SamplingConfig(max_new_tokens=3))
    assert all(1 <= len(ids) <= 3 for ids in sampled)


def test_a_completion_ends_with_its_first_end_of_sequence(tiny_model: str, prompts: list[list[int]]) -> None:
    source = resolve_model(tiny_model)
    model = load_policy(source)
    with torch.no_grad():
        model.get_output_embeddings().weight[END] *= 30
    torch.manual_seed(0)
    sampled = HFEngine(model, load_tokenizer(source)).generate(prompts * 8, SamplingConfig(max_new_tokens=20))
    ended = [ids for ids in sampled if len(ids) < 20]
    assert ended
    assert all(ids[-1] == END for ids in ended)
    assert all(END not in ids[:-1] for ids in sampled)


def test_every_configured_end_of_sequence_stops(engine: HFEngine) -> None:
    before = engine.model.generation_config.eos_token_id
    try:
        for configured, stops in [([5, 6], {5, 6, END}), (5, {5, END}), (None, {END})]:
            engine.model.generation_config.eos_token_id = configured
            assert engine.stop_ids() == stops
    finally:
        engine.model.generation_config.eos_token_id = before


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_the_mode_it_was_in(engine: HFEngine, prompts: list[list[int]], training: bool) -> None:
    engine.model.train(training)
    engine.generate(prompts, GREEDY)
    assert engine.model.training is training


def test_no_prompts_give_no_completions(engine: HFEngine) -> None:
    assert engine.generate([], GREEDY) == []


WRONG: list[tuple[type[Any], dict[str, Any]]] = [
    (SamplingConfig, {"temperature": -0.1}),
    (SamplingConfig, {"top_p": 0}),
    (SamplingConfig, {"top_p": 1.1}),
    (SamplingConfig, {"top_k": -1}),
    (SamplingConfig, {"max_new_tokens": 0}),
    (SamplingConfig, {"batch_size": 0}),
    (RolloutConfig, {"temperature": 0}),
    (RolloutConfig, {"group_size": 0}),
]


@pytest.mark.parametrize(("section", "settings"), WRONG)
def test_settings_nothing_can_be_sampled_with_are_refused(section: type[Any], settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        section(**settings)
