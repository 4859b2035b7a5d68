"""Tokenizers that do not fit the model: tokens without a vector, no end token; and models that do not write."""

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
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    T5Config,
    T5ForConditionalGeneration,
)

import rlllm
from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import DataError, ModelError
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model


def written(folder: Path, rows: int, prepare: Callable[[Any], object] = lambda tokenizer: None) -> str:
    """A Llama whose embedding has so many rows, with the tokenizer of nano as `prepare` leaves it."""
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        bos_token_id=None,
        eos_token_id=None,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer = build_tokenizer()
    prepare(tokenizer)
    tokenizer.save_pretrained(folder)
    return str(folder)


SMALL: list[tuple[str, int, Callable[[Any], object], str]] = [
    ("tokens of the template", 258, lambda t: None, "'<|system|>' has the id 258"),
    ("the end token", 257, lambda t: None, "'<|end|>' has the id 257"),
    (
        "bytes",
        200,
        lambda t: None,
        "64 tokens of the tokenizer|have no vector in the model: its embedding has 200 rows",
    ),
    ("a new padding token", 261, lambda t: t.add_special_tokens({"pad_token": "<new>"}), "'<new>' has the id 261"),
    (
        "a token that a new template writes",
        261,
        lambda t: (t.add_tokens(["<turn>"]), setattr(t, "chat_template", t.chat_template + "<turn>")),
        "'<turn>' has the id 261",
    ),
]


@pytest.mark.parametrize(("name", "rows", "prepare", "words"), SMALL)
def test_tokens_without_a_vector_are_named_before_anything_is_loaded(
    name: str, rows: int, prepare: Callable[[Any], object], words: str, tmp_path: Path
) -> None:
    folder = written(tmp_path / "m", rows, prepare)
    with pytest.raises(ModelError, match=words):
        resolve_model(folder)


def test_an_added_token_that_nothing_writes_may_lie_beyond(tmp_path: Path) -> None:
    """As in Gemma 3 of one billion weights, whose tokenizer has a token for images and whose embedding has no row for it."""
    folder = written(tmp_path / "m", 261, lambda t: t.add_tokens(["<image>"]))
    assert load_policy(resolve_model(folder)).config.vocab_size == 261


ROWS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "sft": (rlllm.sft, {"prompt": "a", "completion": "b <image>"}, {}),
    "train-rm": (rlllm.train_rm, {"prompt": "a", "chosen": "b", "rejected": "<image>"}, {}),
    "align": (rlllm.align, {"prompt": "a <image>", "chosen": "b", "rejected": "c"}, {"method": "simpo"}),
    "reason": (rlllm.reason, {"prompt": "a <image>", "answer": "b"}, {"rewards": ["exact"]}),
}


@pytest.mark.parametrize("verb", ROWS)
def test_a_row_with_such_a_token_is_named_before_training(verb: str, tmp_path: Path) -> None:
    train, row, settings = ROWS[verb]
    folder = written(tmp_path / "m", 261, lambda t: t.add_tokens(["<image>"]))
    fine = {name: value.replace("<image>", "c" * (name == "rejected")) for name, value in row.items()}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(item) + "\n" for item in (fine, fine, row)))
    with pytest.raises(DataError, match=r"row 3 holds the token <image>, which the model has no vector for") as caught:
        train(model=folder, data=str(tmp_path / "rows.jsonl"), max_steps=1, output_dir=tmp_path / "run", **settings)
    assert "<image>" in str(caught.value.given)


def test_a_problem_with_such_a_token_is_named_before_it_is_evaluated(tmp_path: Path) -> None:
    folder = written(tmp_path / "m", 261, lambda t: t.add_tokens(["<image>"]))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a <image>", "answer": "b"}) + "\n")
    with pytest.raises(DataError, match="row 1 holds the token <image>"):
        rlllm.evaluate(
            model=folder, tasks=[str(tmp_path / "rows.jsonl")], rewards=["exact"], output_dir=tmp_path / "run"
        )


def test_a_tokenizer_without_an_end_token_is_refused_with_what_to_write(tmp_path: Path) -> None:
    def take_away(tokenizer: Any) -> None:
        tokenizer.eos_token = None

    source = resolve_model(written(tmp_path / "m", 261, take_away))
    with pytest.raises(ModelError, match="no end-of-sequence token") as caught:
        load_tokenizer(source)
    assert "<|end|>" in caught.value.exists
    assert '"eos_token"' in (caught.value.hint or "")


def test_a_model_of_encoder_and_decoder_is_refused_by_name(tmp_path: Path) -> None:
    sizes = {"vocab_size": 261, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="t5 is an encoder with a decoder"):
        resolve_model(str(tmp_path))


def test_a_model_that_fills_gaps_is_no_language_model(tmp_path: Path) -> None:
    """Transformers would load it, with attention in both directions, and it would train without a word."""
    sizes = {"vocab_size": 261, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertForMaskedLM(BertConfig(**sizes, intermediate_size=16)).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    source = resolve_model(str(tmp_path))
    with pytest.raises(ModelError, match="a model that fills gaps reads a text in both directions"):
        load_policy(source)
    with pytest.raises(ModelError, match="fills gaps"):
        rlllm.sft(model=str(tmp_path), data="arithmetic", output_dir=tmp_path / "run")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth"])
def test_pickled_weights_say_how_they_are_converted(name: str, tiny_model: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "m"))
    weights = load_policy(resolve_model(tiny_model)).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / name)
    with pytest.raises(ModelError, match=r"no \*\.safetensors weights") as caught:
        resolve_model(str(folder))
    hint = caught.value.hint or ""
    assert "convert one that you trust: python -c" in hint
    if name == "pytorch_model.bin":
        exec(hint.partition('python -c "')[2].removesuffix('"'), {})
        assert load_policy(resolve_model(str(folder))).num_parameters()
