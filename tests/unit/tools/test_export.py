"""Exports: what is written computes what the run's model does, in the format that is asked for, and is listed beforehand."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

import rlllm
from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import ConfigError
from rlllm.core.runs import Run
from rlllm.policies.adapters import sample_outputs
from rlllm.policies.loading import load_policy
from rlllm.policies.model_sources import resolve_model, stored_dtype
from rlllm.tools.export.gguf_file import tokenizer_model
from rlllm.tools.export.run import plan_export
from rlllm.tools.export.serve import serve_commands

DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4}
with_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="the package gguf is not installed")


def trained(model: str, folder: Path, verb: str = "sft", **settings: Any) -> Run:
    given = {"max_steps": 2, "learning_rate": 1e-2, "eval": {"rows": 4}, "lora": {"r": 2}, **settings}
    return getattr(rlllm, verb)(model=model, data=DATA, output_dir=folder, **given)


@pytest.fixture(scope="module")
def adapted(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with adapters, which is only read or copied."""
    return trained(tiny_model, tmp_path_factory.mktemp("runs") / "run", lora={"r": 32})


@pytest.fixture
def stored_in_bf16(tiny_model: str, tmp_path: Path) -> str:
    folder = tmp_path / "bf16"
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return str(folder)


def test_a_merged_export_has_the_format_of_the_base_and_computes_what_the_run_does(
    stored_in_bf16: str, tmp_path: Path
) -> None:
    run = trained(stored_in_bf16, tmp_path / "run")
    exported = rlllm.export(run.path, merge=True)
    assert exported.merged == run.path / "merged"
    assert stored_dtype(run.path / "merged") == "bfloat16"
    expected, given = (sample_outputs(load_policy(resolve_model(str(path)))) for path in (run.path, exported.merged))
    torch.testing.assert_close(given, expected, atol=5e-2, rtol=5e-2)
    assert not torch.equal(given, sample_outputs(load_policy(resolve_model(stored_in_bf16))))
    with pytest.raises(ConfigError, match="the output exists"):
        plan_export(str(run.path), merge=True)
    whole = rlllm.export(run.path, merge=True, overwrite=True, dtype="float32")
    again = sample_outputs(load_policy(resolve_model(str(whole.merged))))
    torch.testing.assert_close(again, expected, atol=1e-4, rtol=1e-4)


def test_a_reward_model_is_merged_with_its_head(tiny_model: str, tmp_path: Path) -> None:
    from rlllm.core.records import Sample
    from rlllm.rewards.models.reward_model import RewardModel

    run = trained(tiny_model, tmp_path / "rm", "train_rm")
    exported = rlllm.export(run.path, merge=True, output=tmp_path / "whole")
    samples = [Sample("1+1=", text) for text in ("2", "a longer text")]
    scores = [
        [score.value for score in RewardModel(str(path)).score_batch(samples)] for path in (run.model, exported.merged)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)
    assert list(serve_commands("m", resolve_model(str(run.path)))) == []


def written(folder: Path, kind: str) -> str:
    """The folder of a model with random weights, of another architecture than nano's."""
    if kind == "llama":
        return "nano"
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = Qwen2Config(**sizes, vocab_size=264, num_key_value_heads=2, eos_token_id=257, bos_token_id=None)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


@with_gguf
@pytest.mark.parametrize(
    ("kind", "dtype", "near"),
    [("llama", "float32", 1e-4), ("llama", "q8_0", 5e-2), ("qwen2", "float32", 1e-4), ("qwen2", "bfloat16", 5e-2)],
)
def test_a_gguf_file_gives_the_same_outputs_when_it_is_read_by_transformers(
    kind: str, dtype: str, near: float, tmp_path: Path
) -> None:
    model = written(tmp_path / kind, kind)
    exported = rlllm.export(model, gguf=True, dtype=dtype, output=tmp_path / "model.gguf")
    assert exported.gguf == tmp_path / "model.gguf"
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    expected = sample_outputs(load_policy(resolve_model(model)))
    torch.testing.assert_close(sample_outputs(read), expected, atol=near * float(expected.abs().max()), rtol=0)
    assert (tmp_path / "Modelfile").read_text(encoding="utf-8").splitlines() == [
        "FROM ./model.gguf",
        'PARAMETER stop "<|end|>"',
    ]


@with_gguf
def test_a_gguf_file_holds_tokenizer_template_and_settings(tmp_path: Path) -> None:
    from gguf import GGUFReader

    model = written(tmp_path / "qwen2", "qwen2")
    rlllm.export(model, gguf=True, output=tmp_path / "model.gguf")
    fields = GGUFReader(tmp_path / "model.gguf").fields

    def value(name: str) -> Any:
        return fields[name].contents()

    tokenizer = build_tokenizer()
    tokens, kinds = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    assert [tokens[number] for number in (10, 257, 263)] == [
        *tokenizer.convert_ids_to_tokens([10, 257]),
        "[PAD263]",
    ]
    assert [kinds[number] for number in (10, 257, 263)] == [1, 3, 5]
    assert value("tokenizer.chat_template") == tokenizer.chat_template
    assert (value("general.architecture"), value("qwen2.attention.head_count_kv")) == ("qwen2", 2)
    assert value("tokenizer.ggml.eos_token_id") == 257


WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = {"type": "ByteLevel", "use_regex": False}
SPLITS = [
    ({"type": "ByteLevel", "use_regex": True}, "gpt-2"),
    ([{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}], "smollm"),
    ([{"type": "Split", "pattern": {"Regex": rf"{WORDS}|\p{{N}}{REST}"}}, BYTES], "qwen2"),
    ([{"type": "Split", "pattern": {"Regex": rf"{WORDS}|\p{{N}}{{1,3}}{REST}"}}, BYTES], "llama-bpe"),
    ([{"type": "Split", "pattern": {"Regex": "x"}}, BYTES], None),
    ({"type": "Metaspace"}, None),
]


@pytest.mark.parametrize(("splits", "name"), SPLITS)
def test_llama_cpp_is_told_how_the_tokenizer_splits_or_nothing_is_written(splits: Any, name: str | None) -> None:
    parts = {"type": "Sequence", "pretokenizers": splits} if isinstance(splits, list) else splits
    file = {"model": {"type": "BPE", "merges": [["a", "b"]]}, "pre_tokenizer": parts}
    if name is None:
        with pytest.raises(ConfigError, match="has no name in llama"):
            tokenizer_model(file)
    else:
        assert tokenizer_model(file) == name


@with_gguf
def test_rotary_halves_of_each_head_alternate_in_a_llama_file() -> None:
    from rlllm.tools.export.gguf_file import _interleaved

    rows = np.arange(8.0)[:, None]  # two heads of four
    assert _interleaved(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_card_says_method_data_measures_and_what_speaks_against_the_run(adapted: Run) -> None:
    run = adapted
    exported = rlllm.export(run.path, card=True)
    assert exported.card == run.model / "README.md"
    text = exported.card.read_text(encoding="utf-8")
    (row,) = run.results["measures"]
    assert f"| {row['name']} | {row['before']['estimate']:.3g} [" in text
    assert f"Outcome: {run.verdict['outcome']['state']}" in text
    assert "library_name: peft" in text
    assert "arithmetic" in text
    assert "--enable-lora --lora-modules" in text


def test_an_upload_is_listed_before_anything_is_sent(tiny_model: str, monkeypatch: Any) -> None:
    planned = plan_export(tiny_model, push="me/mine")
    assert planned.to_json()["push"]["files"] == sorted(path.name for path in Path(tiny_model).iterdir())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="nothing is uploaded while the Hub is offline"):
        rlllm.export(tiny_model, push="me/mine")


REFUSED = [
    ({}, "nothing to export"),
    ({"card": True}, "this is no run"),
    ({"push": "mine"}, "named ORG/NAME"),
    ({"merge": True, "dtype": "int8"}, "no such number format"),
]


@pytest.mark.parametrize(("wanted", "words"), REFUSED)
def test_what_cannot_be_exported_is_refused_at_once(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_export("nano", **wanted)


def test_an_adapter_on_a_base_of_this_machine_is_uploaded_whole_only(adapted: Run) -> None:
    run = adapted
    with pytest.raises(ConfigError, match="--merge uploads the whole model"):
        plan_export(str(run.path), push="me/mine")
    assert plan_export(str(run.path), push="me/mine", merge=True).merged == run.path / "merged"


def test_what_serves_a_model_fits_what_was_saved(adapted: Run, tiny_model: str) -> None:
    run = adapted
    source = resolve_model(str(run.path))
    served = list(serve_commands(str(run.model), source))
    assert served[0] == f"vllm serve {tiny_model} --enable-lora --lora-modules run={run.model} --max-lora-rank 32"
    assert next(iter(serve_commands("m", source, merged=True))) == "vllm serve m"
    assert json.loads((run.model / "adapter_config.json").read_text())["base_model_name_or_path"] == tiny_model
