"""Adapters are trained in place of all weights, and what is saved is the adapter, or a whole model again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.core.events import NullProgress
from rlllm.core.runs import read_json

DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4}


TRAINING: dict[str, Any] = {"data": DATA, "max_steps": 2, "learning_rate": 1e-2, "eval": {"rows": 0}}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("verb", ["sft", "train_rm", "align"])
def test_a_run_with_adapters_keeps_the_adapter_and_merges_it_where_it_is_asked_to(
    verb: str, tiny_model: str, tmp_path: Path
) -> None:
    train = getattr(rlllm, verb)
    kept = train(model=tiny_model, lora={"r": 2}, output_dir=tmp_path / "kept", **TRAINING)
    merged = train(model=tiny_model, lora={"r": 2, "merge": True}, output_dir=tmp_path / "merged", **TRAINING)
    assert kept.ok
    assert merged.ok
    assert not (kept.model / "model.safetensors").exists()
    adapter = load_file(kept.model / "adapter_model.safetensors")
    assert {name: value.tolist() for name, value in adapter.items()} == {
        name: value.tolist() for name, value in load_file(merged.path / "adapter" / "adapter_model.safetensors").items()
    }
    saved, old = weights(merged.model), weights(Path(tiny_model))
    assert not [name for name in saved if "lora" in name]
    assert [name for name in old if not saved[name].equal(old[name])]


@pytest.fixture
def bf16_model(tiny_model: str, tmp_path: Path) -> Path:
    """The tiny model, stored in bfloat16."""
    folder = tmp_path / "bf16"
    shutil.copytree(tiny_model, folder)
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def formats(folder: Path) -> set[torch.dtype]:
    return {value.dtype for value in weights(folder).values()}


def test_what_is_saved_has_the_number_format_of_the_base_or_that_of_the_training(
    bf16_model: Path, tmp_path: Path
) -> None:
    size = (bf16_model / "model.safetensors").stat().st_size
    merged = rlllm.sft(model=str(bf16_model), lora={"r": 2, "merge": True}, output_dir=tmp_path / "merged", **TRAINING)
    in_bf16 = rlllm.sft(model={"name": str(bf16_model), "dtype": "auto"}, output_dir=tmp_path / "in-bf16", **TRAINING)
    notes = Notes()
    whole = rlllm.sft(model=str(bf16_model), progress=notes, output_dir=tmp_path / "whole", **TRAINING)
    for run, dtype, bytes_of_it in (
        (merged, torch.bfloat16, size),
        (in_bf16, torch.bfloat16, size),
        (whole, torch.float32, 2 * size),
    ):
        assert run.ok, run.verdict
        assert formats(run.model) == {dtype}
        assert (run.model / "model.safetensors").stat().st_size == pytest.approx(bytes_of_it, rel=0.1)
    assert [text for text in notes.texts if "model/ is float32, as it was trained, and the base is bfloat16" in text]


class Notes(NullProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize("kind", ["use_rslora", "use_dora"])
def test_kinds_of_low_rank_adapters_are_those_of_peft(kind: str, tiny_model: str, tmp_path: Path) -> None:
    run = rlllm.sft(model=tiny_model, lora_r=2, **{kind: True}, output_dir=tmp_path / "run", **TRAINING)
    assert run.ok
    config = read_json(run.model / "adapter_config.json")
    assert (config["r"], config[kind]) == (2, True)
    has_magnitude = any("magnitude" in name for name in load_file(run.model / "adapter_model.safetensors"))
    assert has_magnitude == (kind == "use_dora")


@pytest.mark.parametrize("adapters", [{}, {"lora": {"r": 2}}])
def test_a_run_in_mixed_precision_saves_what_it_trained(adapters: dict[str, Any], tmp_path: Path) -> None:
    """Trained under autocast, the model is compared with the saved one without it: with it, bf16 alone would fail the run."""
    settings = {
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "eval": {"rows": 0},
        "output_dir": tmp_path / "run",
        **adapters,
    }
    run = rlllm.sft(model="nano", data=DATA, bf16=True, **settings)
    assert run.ok, run.verdict["reasons"]
    assert (run.model / ("adapter_model.safetensors" if adapters else "model.safetensors")).exists()


MISFITS = [
    (["no_such_projection"], "the adapters do not fit the model"),
    (["lm_head"], "the output layer takes no adapter"),
]


@pytest.mark.parametrize(("modules", "words"), MISFITS)
def test_adapters_that_do_not_fit_the_model_are_the_users_error(
    modules: list[str], words: str, tiny_model: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        rlllm.reason(
            model=tiny_model,
            data=DATA,
            lora={"r": 2, "target_modules": modules},
            max_steps=1,
            eval={"rows": 0},
            output_dir=tmp_path / "run",
        )
