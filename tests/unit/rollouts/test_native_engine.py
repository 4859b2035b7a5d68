"""The native engine: the same completions as `hf` where nothing is drawn, the same distribution where something is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.hf import HFEngine
from rlllm.rollouts.engines.native.engine import NativeEngine

GREEDY = SamplingConfig(temperature=0, max_new_tokens=24)
A, B, C, D = [5, 6, 7], [9] * 21, [30, 31], [70, 60, 50, 40, 30]
PATTERNS: list[list[list[int]]] = [
    [A],
    [A, A, A, A],
    [A, A, B, B, C, C],
    [A, B, C, A, B, D],
    [C, A, A, A, B, B, C, D, A],
    [A, [8, 6, 7], A, [8, 6, 7]],
]


def loaded(folder: str) -> tuple[Any, Any]:
    source = resolve_model(folder)
    return load_policy(source), load_tokenizer(source)


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return loaded("nano")


@pytest.fixture
def tiny(tiny_model: str) -> tuple[Any, Any]:
    return loaded(tiny_model)


class Endless:
    """A tokenizer without an end-of-sequence token, as far as an engine asks."""

    pad_token_id = 256
    eos_token_id = None
    chat_template = None


@pytest.mark.parametrize("prompts", PATTERNS)
def test_greedy_completions_are_those_of_generate(nano: tuple[Any, Any], prompts: list[list[int]]) -> None:
    assert NativeEngine(*nano).generate(prompts, GREEDY) == HFEngine(*nano).generate(prompts, GREEDY)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_results_come_in_the_order_of_the_prompts_whatever_the_batch(nano: tuple[Any, Any], size: int) -> None:
    engine, prompts = NativeEngine(*nano), PATTERNS[4]
    sampling = GREEDY.model_copy(update={"batch_size": size})
    assert engine.generate(prompts, sampling) == engine.generate(prompts, GREEDY)


def test_rows_that_end_at_different_times_leave_the_others_as_they_were(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    model.generation_config.eos_token_id = list(range(0, 256, 9))
    prompts = [prompt for first in range(12) for prompt in [[first, 3, 2 * first + 1] * (1 + first % 3)] * 4]
    for seed in range(3):
        torch.manual_seed(seed)
        native = NativeEngine(model, tokenizer).generate(prompts, SamplingConfig(max_new_tokens=40))
        lengths = {len(ids) for ids in native}
        assert len(lengths) > 8
        stops = HFEngine(model, tokenizer).stop_ids()
        assert all(len(ids) == 40 or ids[-1] in stops for ids in native)
        assert all(not stops & set(ids[:-1]) for ids in native)
    greedy = GREEDY.model_copy(update={"max_new_tokens": 40})
    assert NativeEngine(model, tokenizer).generate(prompts, greedy) == HFEngine(model, tokenizer).generate(
        prompts, greedy
    )


def test_a_completion_has_at_most_the_tokens_asked_for(nano: tuple[Any, Any]) -> None:
    for limit in (1, 3, 40):
        sampled = NativeEngine(*nano).generate([A, A, B], SamplingConfig(max_new_tokens=limit))
        assert all(1 <= len(ids) <= limit for ids in sampled)


def test_the_same_seed_samples_the_same(nano: tuple[Any, Any]) -> None:
    engine, drawn = NativeEngine(*nano), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(engine.generate([A, A, B, B], SamplingConfig(max_new_tokens=20)))
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


SAMPLINGS = [
    SamplingConfig(max_new_tokens=2, batch_size=4000),
    SamplingConfig(max_new_tokens=2, batch_size=4000, temperature=0.7, top_k=5, top_p=0.9),
    SamplingConfig(max_new_tokens=2, batch_size=4000, temperature=1.5, top_p=0.6),
]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("position", [0, 1])
def test_tokens_have_the_frequencies_that_transformers_warpers_give(
    tiny: tuple[Any, Any], sampling: SamplingConfig, position: int
) -> None:
    model, _ = tiny
    model.generation_config.eos_token_id = None
    model.get_output_embeddings().weight.data *= 8  # probabilities that differ
    prompt = [5, 6, 7]
    chances = warped(model, prompt, sampling)
    if position == 1:
        likely = chances.topk(min(8, int((chances > 0).sum())))
        second = torch.stack([warped(model, [*prompt, int(token)], sampling) for token in likely.indices])
    torch.manual_seed(0)
    drawn = np.array(NativeEngine(model, Endless()).generate([prompt] * 8000, sampling))
    if position == 0:
        assert agree(drawn[:, 0], chances)
        return
    for token, wanted in zip(likely.indices.tolist(), second, strict=True):
        assert agree(drawn[drawn[:, 0] == token, 1], wanted)


def warped(model: Any, prompt: list[int], sampling: SamplingConfig) -> Tensor:
    """(V,) probabilities of the next token by transformers' own warpers, in its order."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    with torch.no_grad():
        scores = model(torch.tensor([prompt])).logits[:, -1]
    scores = TemperatureLogitsWarper(sampling.temperature)(None, scores)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    return scores.softmax(-1)[0]


def agree(drawn: np.ndarray, chances: Tensor) -> bool:
    """Whether counts of tokens fit probabilities, the rare tokens taken together (chi-square, p above 0.001)."""
    counts = np.bincount(drawn, minlength=len(chances))
    wanted = chances.double().numpy() * len(drawn)
    assert not counts[wanted == 0].any()
    common = wanted >= 5
    counts = np.append(counts[common], counts[~common].sum())
    wanted = np.append(wanted[common], wanted[~common].sum())
    kept = wanted > 1e-9
    return len(wanted[kept]) < 2 or chisquare(counts[kept], wanted[kept] * counts.sum() / wanted.sum()).pvalue > 1e-3


def test_after_an_optimizer_step_the_new_weights_are_used(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    engine = NativeEngine(model, tokenizer)
    before = engine.generate(PATTERNS[4], GREEDY)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(2):
        model(torch.tensor([A]), labels=torch.tensor([A])).loss.backward()
        optimizer.step()
    after = engine.generate(PATTERNS[4], GREEDY)
    assert after != before
    assert after == HFEngine(model, tokenizer).generate(PATTERNS[4], GREEDY)
    assert model.training
    model(torch.tensor([A]), labels=torch.tensor([A])).loss.backward()  # nothing left that autograd refuses


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_the_mode_it_was_in(tiny: tuple[Any, Any], training: bool) -> None:
    model, tokenizer = tiny
    model.train(training)
    NativeEngine(model, tokenizer).generate([A], GREEDY)
    assert model.training is training


def test_logits_that_are_no_distribution_are_an_error(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    engine = NativeEngine(model, tokenizer)
    model.model.norm.weight.data[3] = torch.nan
    model.train()
    with pytest.raises(RuntimeError, match="no token can be sampled"):
        engine.generate([A], SamplingConfig(max_new_tokens=2))
    assert model.training


def test_no_prompts_give_no_completions(nano: tuple[Any, Any]) -> None:
    assert NativeEngine(*nano).generate([], GREEDY) == []


def test_making_an_engine_does_not_move_the_generator_that_samples(tiny: tuple[Any, Any]) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    NativeEngine(*tiny)
    assert torch.equal(torch.get_rng_state(), before)
