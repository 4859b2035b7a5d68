"""Adapters: merged without a change of what is computed, also into shared weights, and usable as models and rewards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    Qwen2Config,
)

import rlllm
from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import ModelError
from rlllm.core.runs import read_json
from rlllm.policies.adapters import refuse_difference, sample_outputs
from rlllm.policies.loading import load_classifier, load_policy, load_step_classifier, load_tokenizer, save_model
from rlllm.policies.model_sources import resolve_model

SIZES = {"vocab_size": 261, "num_hidden_layers": 2, "num_attention_heads": 2, "eos_token_id": 257, "pad_token_id": 256}
SMALL = {**SIZES, "hidden_size": 32, "intermediate_size": 64, "num_key_value_heads": 2, "bos_token_id": None}
ARCHITECTURES: dict[str, tuple[Any, list[str]]] = {
    "llama, tied": (LlamaConfig(**SMALL, tie_word_embeddings=True), ["q_proj", "embed_tokens"]),
    "llama, not tied": (LlamaConfig(**SMALL, tie_word_embeddings=False), ["embed_tokens", "lm_head"]),
    "qwen2, both ends of the tie": (Qwen2Config(**SMALL, tie_word_embeddings=True), ["embed_tokens", "lm_head"]),
    "gemma3, scaled embedding": (Gemma3TextConfig(**SMALL, head_dim=16), ["embed_tokens"]),
    "gpt2": (GPT2Config(vocab_size=261, n_embd=32, n_layer=2, n_head=2, eos_token_id=257), ["wte", "c_attn"]),
    "opt": (
        OPTConfig(**SIZES, hidden_size=32, ffn_dim=64, word_embed_proj_dim=32, bos_token_id=None),
        ["embed_tokens", "lm_head"],
    ),
    "bloom": (BloomConfig(vocab_size=261, hidden_size=32, n_layer=2, n_head=2), ["word_embeddings"]),
}


def written(folder: Path, config: Any) -> str:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


def adapted(source: str, modules: list[str], **settings: Any) -> Any:
    """The model of a folder under an adapter of random weights."""
    from peft import LoraConfig, get_peft_model

    model = load_policy(resolve_model(source))
    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=modules, init_lora_weights=False, task_type="CAUSAL_LM", **settings)
    return get_peft_model(model, config)


@pytest.mark.filterwarnings("ignore:.*tie")
@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_was_trained_is_what_is_saved_whatever_weights_are_shared(name: str, merge: bool, tmp_path: Path) -> None:
    config, modules = ARCHITECTURES[name]
    source = written(tmp_path / "base", config)
    model = adapted(source, modules)
    before, base = sample_outputs(model), sample_outputs(load_policy(resolve_model(source)))
    save_model(model, load_tokenizer(resolve_model(source)), tmp_path / "run" / "model", merge=merge)
    after = sample_outputs(load_policy(resolve_model(str(tmp_path / "run" / "model"))))
    torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(before, base, atol=1e-2)


def test_a_model_that_differs_once_it_is_saved_is_refused_and_not_found_as_the_result(
    tiny_model: str, tmp_path: Path
) -> None:
    source = resolve_model(tiny_model)
    model = load_policy(source)
    model.model.layers[0].self_attn.scaling *= 2  # nothing of it is saved
    with pytest.raises(ModelError, match="saving the model changed what the model computes"):
        save_model(model, load_tokenizer(source), tmp_path / "run" / "model")
    assert not (tmp_path / "run" / "model").exists()
    assert (tmp_path / "run" / "model-refused" / "config.json").exists()


def test_rounding_is_no_difference_and_a_diverged_model_is_not_compared(tiny_model: str, tmp_path: Path) -> None:
    model = load_policy(resolve_model(tiny_model))
    outputs = sample_outputs(model)
    refuse_difference("rounding", outputs, outputs + 1e-5, model, tmp_path)
    refuse_difference("nothing", outputs * torch.nan, outputs, model, tmp_path)
    with pytest.raises(ModelError, match="rounding changed"):
        refuse_difference("rounding", outputs, outputs + 0.1, model, tmp_path)


@pytest.fixture
def adapter(tiny_model: str, tmp_path: Path) -> Path:
    """The folder of an adapter, as PEFT writes it."""
    adapted(tiny_model, ["q_proj", "v_proj"]).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_is_a_model_on_the_base_that_it_names(tiny_model: str, adapter: Path) -> None:
    source = resolve_model(str(adapter))
    assert (source.kind, source.base and source.base.path, source.context_length()) == ("adapter", tiny_model, 512)
    expected = sample_outputs(adapted(tiny_model, ["q_proj", "v_proj"]))
    torch.testing.assert_close(sample_outputs(load_policy(source)), expected, atol=1e-4, rtol=1e-4)
    assert load_tokenizer(source).eos_token == "<|end|>"
    assert source.fingerprint() != resolve_model(tiny_model).fingerprint()


def rename_base(adapter: Path, base: str | None) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base}))


def test_the_base_of_an_adapter_may_be_named_beside_it(tiny_model: str, adapter: Path, tmp_path: Path) -> None:
    rename_base(adapter, "/gone/model")
    run = rlllm.evaluate(
        model={"name": str(adapter), "base": tiny_model},
        tasks=["arithmetic"],
        rows=2,
        samples=1,
        sampling={"max_new_tokens": 4},
        output_dir=tmp_path / "run",
    )
    assert run.ok
    assert run.config["settings"]["model"] == f"{adapter}@{tiny_model}"


def test_a_base_beside_the_adapter_is_found_from_any_directory(tiny_model: str, adapter: Path) -> None:
    shutil.copytree(tiny_model, adapter.parent / "bases" / "tiny")
    rename_base(adapter, "bases/tiny")
    base = resolve_model(str(adapter)).base
    assert base is not None
    assert base.path == str(adapter.parent / "bases" / "tiny")


def test_the_embedded_model_of_another_installation_is_the_one_of_this(adapter: Path, nano: str) -> None:
    rename_base(adapter, "/elsewhere/rlllm/assets/nano")
    base = resolve_model(str(adapter)).base
    assert base is not None
    assert base.path == nano


BROKEN: list[tuple[str, Callable[[Path], object], str]] = [
    ("no base named", lambda a: rename_base(a, None), "does not say which model it was trained on"),
    ("base gone", lambda a: rename_base(a, "/gone/model"), "model.base=MODEL"),
    ("no weights", lambda a: (a / "adapter_model.safetensors").unlink(), "the adapter has no weights"),
    (
        "pickled weights",
        lambda a: (a / "adapter_model.safetensors").rename(a / "adapter_model.bin"),
        "convert one that you trust",
    ),
    ("damaged", lambda a: (a / "adapter_config.json").write_text("["), "cannot be read"),
]


@pytest.mark.parametrize(("name", "damage", "words"), BROKEN)
def test_an_adapter_that_cannot_be_used_says_why(
    name: str, damage: Callable[[Path], object], words: str, adapter: Path
) -> None:
    damage(adapter)
    with pytest.raises(ModelError) as caught:
        resolve_model(str(adapter))
    assert words in str(caught.value)


def test_only_an_adapter_has_a_base(tiny_model: str) -> None:
    with pytest.raises(ModelError, match="only an adapter has a base"):
        resolve_model(f"{tiny_model}@nano")


def test_an_adapter_on_another_base_is_the_users_error(adapter: Path, nano: str) -> None:
    with pytest.raises(ModelError, match="does not load onto its base"):
        load_policy(resolve_model(f"{adapter}@{nano}"))


DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4}
TRAINING: dict[str, Any] = {"data": DATA, "max_steps": 1, "learning_rate": 1e-2, "eval": {"rows": 0}}


def test_an_adapter_is_trained_on_and_named_again_as_the_base_of_the_next(tiny_model: str, tmp_path: Path) -> None:
    first = rlllm.sft(model=tiny_model, lora={"r": 2}, output_dir=tmp_path / "first", **TRAINING)
    lora = {"r": 2, "merge": True}
    of_run = rlllm.sft(model=str(first.path), lora=lora, output_dir=tmp_path / "second", **TRAINING)
    of_folder = rlllm.sft(model=str(first.model), lora=lora, output_dir=tmp_path / "third", **TRAINING)
    assert resolve_model(str(first.path)).base is not None
    assert read_json(of_run.path / "lineage.json")["parents"] == [str(first.path)]
    for run in (of_run, of_folder):
        assert run.ok
        whole, from_adapter = (
            sample_outputs(load_policy(resolve_model(str(path)))) for path in (run.path, run.path / "adapter")
        )
        torch.testing.assert_close(from_adapter, whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("load", [load_classifier, load_step_classifier])
def test_a_reward_model_begins_with_the_adapted_layers_of_a_language_model(load: Any, adapter: Path) -> None:
    source = resolve_model(str(adapter))
    language, reward = load_policy(source), load(source, load_tokenizer(source))
    body = dict(language.base_model.named_parameters())
    assert all(torch.equal(value, body[name]) for name, value in reward.base_model.named_parameters())
    assert source.base is not None
    before = dict(load_policy(source.base).base_model.named_parameters())
    assert any(not torch.equal(value, before[name]) for name, value in body.items())


def test_an_adapter_of_a_reward_model_scores_like_its_merged_model(tiny_model: str, tmp_path: Path) -> None:
    from rlllm.core.records import Sample
    from rlllm.rewards.models.reward_model import RewardModel
    from rlllm.training.reward_specs import reward_of

    run = rlllm.train_rm(model=tiny_model, lora={"r": 2, "merge": True}, output_dir=tmp_path / "rm", **TRAINING)
    samples = [Sample("1+1=", text) for text in ("2", "a longer text")]
    assert reward_of(str(run.path / "adapter")) == "model"
    scores = [
        [score.value for score in RewardModel(str(path)).score_batch(samples)]
        for path in (run.model, run.path / "adapter", f"{run.path / 'adapter'}@{tiny_model}")
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)
    assert scores[2] == scores[1]
    with pytest.raises(ModelError, match="a reward model scores texts and writes none"):
        load_policy(resolve_model(str(run.path / "adapter")))


def test_a_reward_model_by_adapters_may_begin_with_a_run_by_adapters(tiny_model: str, tmp_path: Path) -> None:
    from rlllm.core.records import Sample
    from rlllm.rewards.models.reward_model import RewardModel

    first = rlllm.sft(model=tiny_model, lora={"r": 2}, output_dir=tmp_path / "first", **TRAINING)
    lora = {"r": 2, "merge": True}
    run = rlllm.train_rm(model=str(first.path), lora=lora, output_dir=tmp_path / "rm", **TRAINING)
    assert run.carried_out
    samples = [Sample("1+1=", text) for text in ("2", "a longer text")]
    whole, adapter = (
        [score.value for score in RewardModel(str(path)).score_batch(samples)]
        for path in (run.model, run.path / "adapter")
    )
    assert adapter == pytest.approx(whole, abs=1e-4)


def test_the_reference_of_a_loop_on_an_adapter_is_the_adapted_model(adapter: Path, tmp_path: Path) -> None:
    """TRL would load its reference from the folder that the weights came from: that of the base."""
    run = rlllm.reason(
        model=str(adapter),
        beta=0.1,
        rollout={"max_new_tokens": 4, "group_size": 2},
        per_device_train_batch_size=4,
        output_dir=tmp_path / "run",
        **TRAINING,
    )
    assert run.metrics()[0]["kl"] == pytest.approx(0, abs=1e-6)
