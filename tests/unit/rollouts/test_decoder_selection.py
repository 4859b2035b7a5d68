"""Which decoder a model gets, why, and that each computes what the model's own forward pass computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.hf import HFEngine
from rlllm.rollouts.engines.native.decoder_selection import TIERS
from rlllm.rollouts.engines.native.engine import NativeEngine

SIZES: dict[str, Any] = {
    "vocab_size": 53,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": 52,
    "pad_token_id": 0,
}
GPT2 = {"vocab_size": 53, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "eos_token_id": 52}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
GREEDY = SamplingConfig(temperature=0, max_new_tokens=12)
PROMPTS = [[3, 4, 5]] * 3 + [[7, 8, 9, 10, 11, 12, 13]] * 2 + [[20]]


class Tokens:
    """All that an engine asks of a tokenizer."""

    pad_token_id = 0
    eos_token_id = 52
    chat_template = None


def model_of(kind: str, **settings: Any) -> Any:
    config_of = getattr(transformers, f"{kind}Config")
    architecture = getattr(transformers, {"GPT2": "GPT2LMHeadModel"}.get(kind, f"{kind}ForCausalLM"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = architecture(config_of(**{**(GPT2 if kind == "GPT2" else SIZES), **settings})).eval()
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # norms and biases that are not one or zero
                nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.3)
            else:
                parameter.data *= 8
    return model


MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("fast", "Llama", {}),
    ("fast", "Llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    ("fast", "Llama", {"head_dim": 12, "num_key_value_heads": 1, "rope_parameters": LINEAR}),
    ("fast", "Llama", {"num_key_value_heads": 4, "rope_parameters": YARN}),
    ("fast", "Mistral", {"sliding_window": None}),
    ("fast", "Qwen2", {}),
    ("fast", "Qwen3", {"head_dim": 16}),
    ("generic", "Llama", {"rope_parameters": DYNAMIC}),
    ("generic", "Llama", {"hidden_act": "gelu"}),
    ("generic", "GPT2", {}),
    ("generic", "Gemma2", {"head_dim": 8, "sliding_window": 6}),
]
IDS = [f"{tier}-{kind}-{'-'.join(settings) or 'plain'}" for tier, kind, settings in MODELS]


@pytest.mark.parametrize(("tier", "kind", "settings"), MODELS, ids=IDS)
def test_a_model_gets_its_tier_and_the_completions_of_generate(tier: str, kind: str, settings: dict[str, Any]) -> None:
    model = model_of(kind, **settings)
    engine = NativeEngine(model, Tokens())
    assert (engine.tier, bool(engine.reason)) == (tier, tier != "fast"), engine.reason
    assert engine.generate(PROMPTS, GREEDY) == HFEngine(model, Tokens()).generate(PROMPTS, GREEDY)


@pytest.mark.parametrize(("tier", "kind", "settings"), MODELS, ids=IDS)
def test_logits_of_every_step_are_those_of_a_full_forward_pass(tier: str, kind: str, settings: dict[str, Any]) -> None:
    model = model_of(kind, **settings)
    prompts, owners = [[3, 4, 5], [7, 8, 9, 10, 11, 12, 13], [20]], [0, 0, 0, 0, 1, 1, 1, 2]
    drops = {3: [0, 1, 2, 4, 7], 20: [0, 3, 4], 40: [1, 2], 43: [1]}
    decoder = next(one for one in TIERS if one.name == tier).decoder(model)
    rows = [list(prompts[owner]) for owner in owners]
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        states = decoder.prefill(prompts, owners, 50)
        for step in range(50):
            if step % 7 == 0 or step in drops:
                wanted = forward(model, rows)
                assert torch.allclose(decoder.logits(states), wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))
            tokens = torch.randint(53, (len(rows),), generator=draws)
            rows = [[*row, int(token)] for row, token in zip(rows, tokens, strict=True)]
            if step in drops:
                decoder.keep(drops[step])
                rows, tokens = [rows[row] for row in drops[step]], tokens[drops[step]]
            states = decoder.advance(tokens)


def forward(model: Any, rows: list[list[int]]) -> Tensor:
    """(rows, V) logits after each row, computed alone, from its start, without a cache."""
    return torch.stack([model(torch.tensor([row]), use_cache=False).logits[0, -1] for row in rows])


def adapted(**settings: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        model_of("Llama"), LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj", "o_proj"], **settings)
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, 0, 0.5)
    return model


def test_adapters_are_added_to_the_weights() -> None:
    model = adapted(lora_alpha=7)
    engine = NativeEngine(model, Tokens())
    assert (engine.tier, engine.reason) == ("fast", "")
    given = engine.generate(PROMPTS, GREEDY)
    assert given == HFEngine(model, Tokens()).generate(PROMPTS, GREEDY)
    with model.disable_adapter():
        base = engine.generate(PROMPTS, GREEDY)
        assert base == HFEngine(model, Tokens()).generate(PROMPTS, GREEDY)
    assert base != given
    model.merge_adapter()
    assert engine.generate(PROMPTS, GREEDY) == given
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_adapter_that_is_no_sum_goes_through_the_models_own_forward() -> None:
    model = adapted(use_dora=True)
    engine = NativeEngine(model, Tokens())
    assert engine.tier == "generic"
    assert "adds more than a product of two matrices" in engine.reason
    assert engine.generate(PROMPTS, GREEDY) == HFEngine(model, Tokens()).generate(PROMPTS, GREEDY)


def hooked() -> Any:
    model = model_of("Llama")
    model.model.layers[1].register_forward_hook(lambda module, given, output: output * 0.5)
    return model


def replaced() -> Any:
    model = model_of("Llama")
    norm = model.model.norm
    own = norm.forward
    norm.forward = lambda x: own(x) * 2
    return model


def in_bfloat16() -> Any:
    return model_of("Llama").bfloat16()


OTHERWISE: list[tuple[Any, str]] = [
    (hooked, "model.layers.1 has forward hooks"),
    (replaced, "the forward pass of model.norm is replaced"),
    (in_bfloat16, "weights in bfloat16"),
]


@pytest.mark.parametrize(("build", "reason"), OTHERWISE)
def test_what_the_fast_decoder_does_not_know_is_named_and_left_to_the_generic_one(build: Any, reason: str) -> None:
    model = build()
    engine = NativeEngine(model, Tokens())
    assert (engine.tier, engine.reason) == ("generic", f"not fast: {reason}")
    assert engine.generate(PROMPTS, GREEDY) == HFEngine(model, Tokens()).generate(PROMPTS, GREEDY)


def test_a_checkpointing_hook_is_no_obstacle() -> None:
    model = model_of("Llama")
    model.enable_input_require_grads()
    assert NativeEngine(model, Tokens()).tier == "fast"


def test_a_pass_with_hidden_states_is_no_obstacle() -> None:
    model = model_of("Llama").eval()
    with torch.no_grad():
        model(input_ids=torch.tensor([[5, 6]]), output_hidden_states=True)
    engine = NativeEngine(model, Tokens())
    assert (engine.tier, engine.reason) == ("fast", "")
    assert engine.generate(PROMPTS, GREEDY) == HFEngine(model, Tokens()).generate(PROMPTS, GREEDY)


def test_a_model_whose_copy_does_not_fit_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlllm.rollouts.engines.native.weight_layout.COPY_SHARE", 1e-9)
    engine = NativeEngine(model_of("Llama"), Tokens())
    assert engine.tier == "generic"
    assert engine.reason.startswith("not fast: a second copy of its weights takes")


def test_a_window_shorter_than_the_text_is_left_to_the_generic_decoder() -> None:
    model = model_of("Mistral", sliding_window=9)
    engine = NativeEngine(model, Tokens())
    assert engine.tier == "fast"
    for limit in (2, 12):
        sampling = GREEDY.model_copy(update={"max_new_tokens": limit})
        assert engine.generate(PROMPTS, sampling) == HFEngine(model, Tokens()).generate(PROMPTS, sampling)


def test_a_generation_config_that_steers_is_left_to_generate() -> None:
    model = model_of("Llama")
    model.generation_config.repetition_penalty = 1.7
    engine = NativeEngine(model, Tokens())
    assert (engine.tier, engine.reason) == ("generate", "the generation config sets repetition_penalty")
    assert engine.generate(PROMPTS, GREEDY) == HFEngine(model, Tokens()).generate(PROMPTS, GREEDY)


def test_an_encoder_decoder_is_left_to_generate() -> None:
    sizes = {"vocab_size": 53, "d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2}
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0, eos_token_id=52)
    )
    engine = NativeEngine(model, Tokens())
    assert engine.tier == "generate"
    assert engine.reason.endswith("not generic: an encoder-decoder model")


def test_a_state_that_is_no_cache_is_left_to_generate() -> None:
    sizes = {"vocab_size": 53, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    engine = NativeEngine(transformers.MambaForCausalLM(transformers.MambaConfig(**sizes)), Tokens())
    assert engine.tier == "generate"
    assert "is not a cache of keys and values" in engine.reason


def test_a_decoder_that_computes_something_else_is_found_out() -> None:
    model = model_of("Llama")
    model.model.norm.variance_epsilon = 0.5  # not what its config says
    engine = NativeEngine(model, Tokens())
    assert engine.tier == "generic"
    assert "not fast: its logits differ from the model's by" in engine.reason
