"""Log-probabilities that engines report of what they sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from rlllm.core.errors import PluginError
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine, sampled_logps
from rlllm.rollouts.engines.loading import reports_logps
from rlllm.rollouts.engines.native.engine import NativeEngine
from rlllm.rollouts.registry import ENGINES

SAMPLINGS = [
    {},
    {"temperature": 0.7},
    {"temperature": 0.7, "top_k": 5},
    {"temperature": 1.5, "top_p": 0.6},
    {"temperature": 1.2, "top_k": 9, "top_p": 0.8},
]


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    source = resolve_model("nano")
    return load_policy(source), load_tokenizer(source)


@pytest.mark.parametrize("settings", SAMPLINGS, ids=str)
@pytest.mark.parametrize("tier", ["fast", "generic"])
def test_the_native_engine_reports_the_distribution_that_it_draws_from(
    nano: tuple[Any, Any], settings: dict[str, Any], tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tier == "generic":
        monkeypatch.setattr("rlllm.rollouts.engines.native.weight_layout.refusal", lambda model: "not here")
        from rlllm.rollouts.engines.native import decoder_selection, engine

        monkeypatch.setattr(engine, "TIERS", decoder_selection.TIERS[1:])
    model, tokenizer = nano
    sampling = SamplingConfig(max_new_tokens=12, batch_size=5, **settings)
    prompts = [[5, 6, 7]] * 4 + [[70, 60, 50, 40]] * 3
    torch.manual_seed(0)
    native = NativeEngine(model, tokenizer)
    assert native.tier == tier
    completions = native.generate(prompts, sampling)
    reported = sampled_logps(native, completions)
    assert reported is not None
    for prompt, ids, found in zip(prompts, completions, reported, strict=True):
        with torch.no_grad():
            scores = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
        scores = TemperatureLogitsWarper(sampling.temperature)(None, scores)
        if sampling.top_k:
            scores = TopKLogitsWarper(sampling.top_k)(None, scores)
        if sampling.top_p < 1:
            scores = TopPLogitsWarper(sampling.top_p)(None, scores)
        wanted = scores.log_softmax(-1).gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(torch.tensor(found), wanted, atol=2e-4, rtol=1e-3)


def test_a_greedy_choice_has_probability_one(nano: tuple[Any, Any]) -> None:
    native = NativeEngine(*nano)
    completions = native.generate([[5, 6, 7]], SamplingConfig(temperature=0, max_new_tokens=4))
    assert native.logps == [[0.0] * len(completions[0])]


class Silent(Engine):
    """Says nothing of probabilities."""

    def generate(self, prompts: Any, sampling: Any) -> list[list[int]]:
        return [[1, 2]] * len(prompts)


class Short(Silent):
    """Reports one number too few of the second completion."""

    reports_logps = True

    def generate(self, prompts: Any, sampling: Any) -> list[list[int]]:
        self.logps = [[-1.0, -1.0], [-1.0]]
        return super().generate(prompts, sampling)


def test_an_engine_that_reports_nothing_has_no_log_probabilities() -> None:
    engine = Silent(None, None)
    assert sampled_logps(engine, engine.generate([[1]], None)) is None


def test_numbers_that_do_not_fit_the_completions_are_refused() -> None:
    engine = Short(None, None)
    with pytest.raises(PluginError, match="1 numbers for the 2 tokens of completion 2"):
        sampled_logps(engine, engine.generate([[1], [2]], None))
    with pytest.raises(PluginError, match="2 rows for 3 completions"):
        sampled_logps(engine, engine.generate([[1], [2], [3]], None))


@pytest.mark.parametrize("name", sorted(ENGINES.builtins))
def test_the_table_of_engines_that_say_nothing_agrees_with_their_classes(name: str) -> None:
    assert reports_logps(name) == ENGINES.load(name).reports_logps
