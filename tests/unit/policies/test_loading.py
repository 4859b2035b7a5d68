"""Loading and saving: what one verb writes, the next can name; what cannot be loaded is an error of exit code 2."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlllm.core.errors import ExitCode, ModelError
from rlllm.policies.loading import load_classifier, load_policy, load_tokenizer, save_model
from rlllm.policies.model_sources import ModelSource, resolve_model


@pytest.fixture
def copy(tiny_model: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def test_a_policy_is_float32_unless_bf16_is_asked_for(tiny_model: str) -> None:
    source = resolve_model(tiny_model)
    assert {p.dtype for p in load_policy(source).parameters()} == {torch.float32}
    assert {p.dtype for p in load_policy(source, bf16=True).parameters()} == {torch.bfloat16}


def test_a_saved_policy_is_loaded_back_to_the_bit(tiny_model: str, tmp_path: Path) -> None:
    source = resolve_model(tiny_model)
    model, tokenizer = load_policy(source), load_tokenizer(source)
    assert save_model(model, tokenizer, tmp_path / "saved") is model
    again = resolve_model(str(tmp_path / "saved"))
    loaded = load_policy(again).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())
    assert load_tokenizer(again).chat_template == tokenizer.chat_template
    assert not list((tmp_path / "saved").glob("*.bin"))


def test_adapters_are_merged_before_they_are_saved(tiny_model: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    source = resolve_model(tiny_model)
    torch.manual_seed(0)
    adapted = get_peft_model(load_policy(source), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    ids = torch.tensor([[1, 2, 3]])
    expected = adapted(ids).logits
    save_model(adapted, load_tokenizer(source), tmp_path / "saved")
    torch.testing.assert_close(load_policy(resolve_model(str(tmp_path / "saved")))(ids).logits, expected)


def test_a_classifiers_new_head_follows_the_seed(tiny_model: str) -> None:
    source = resolve_model(tiny_model)
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        heads.append(load_classifier(source, load_tokenizer(source)).score.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_classifier_has_one_score_and_knows_its_padding(tiny_model: str) -> None:
    source = resolve_model(tiny_model)
    model = load_classifier(source, load_tokenizer(source))
    assert (model.config.num_labels, model.config.pad_token_id) == (1, 256)


def test_a_missing_padding_token_becomes_the_end_of_sequence(copy: Path) -> None:
    tokenizer = load_tokenizer(resolve_model(str(copy)))
    tokenizer.pad_token = None
    tokenizer.save_pretrained(copy)
    loaded = load_tokenizer(resolve_model(str(copy)))
    assert loaded.pad_token == loaded.eos_token == "<|end|>"


Loader = Callable[[ModelSource], Any]
DAMAGES: list[tuple[str, bytes, Loader]] = [
    ("model.safetensors", b"no weights at all", load_policy),
    ("model.safetensors", b"", load_policy),
    ("config.json", b'{"model_type": "no-such-architecture"}', load_policy),
    ("config.json", b'{"model_type": "llama", "hidden_size": 48}', load_policy),
    ("tokenizer.json", b"{}", load_tokenizer),
]


@pytest.mark.parametrize(("name", "content", "loader"), DAMAGES)
def test_a_damaged_folder_is_a_model_error(copy: Path, name: str, content: bytes, loader: Loader) -> None:
    (copy / name).write_bytes(content)
    with pytest.raises(ModelError, match="the model does not load") as caught:
        loader(resolve_model(str(copy)))
    assert str(copy) in str(caught.value.given)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("loader", [load_policy, load_classifier])
def test_weights_that_lack_a_layer_are_not_made_up(copy: Path, loader: Callable[..., Any]) -> None:
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
    source = resolve_model(str(copy))
    with pytest.raises(ModelError, match=r"the weights lack 9 tensors of this model, model.layers.2"):
        loader(source, *([load_tokenizer(source)] if loader is load_classifier else []))


def test_a_hub_model_that_cannot_be_reached_points_to_what_is_on_this_machine() -> None:
    with pytest.raises(ModelError) as caught:
        load_policy(resolve_model("no-such-org/no-such-model"))
    assert caught.value.hint == "give the folder of a model on this machine, or nano"
