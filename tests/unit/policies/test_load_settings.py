"""In which numbers a model is loaded, and what computes its attention: said by the settings, and refused where it cannot be."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.core.config import ModelConfig
from rlllm.core.errors import ConfigError
from rlllm.core.runs import read_json
from rlllm.policies.adapters import sample_outputs
from rlllm.policies.loading import load_classifier, load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model, source_of, stored_dtype
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.precision import planned_dtype

DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4}
TRAINING: dict[str, Any] = {"data": DATA, "max_steps": 2, "learning_rate": 1e-2, "eval": {"rows": 0}}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "auto"])
def test_weights_have_the_number_format_that_is_asked_for(dtype: Any, tiny_model: str) -> None:
    source = source_of(ModelConfig(name=tiny_model, dtype=dtype))
    expected = getattr(torch, "float32" if dtype == "auto" else dtype)
    assert load_policy(source).dtype == expected
    assert load_classifier(source, load_tokenizer(source)).dtype == expected
    assert planned_dtype(source) == str(expected).removeprefix("torch.")


def test_what_says_nothing_follows_the_device(tiny_model: str) -> None:
    source = resolve_model(tiny_model)
    assert [load_policy(source, bf16=bf16).dtype for bf16 in (False, True)] == [torch.float32, torch.bfloat16]
    assert planned_dtype(source) is None
    assert stored_dtype(Path(tiny_model)) == "float32"


def test_attention_is_computed_by_what_is_named(tiny_model: str) -> None:
    outputs = []
    for name in ("sdpa", "eager"):
        model = load_policy(source_of(ModelConfig(name=tiny_model, attention=name)))
        assert model.config._attn_implementation == name
        outputs.append(sample_outputs(model))
    torch.testing.assert_close(*outputs, atol=1e-4, rtol=1e-4)


def test_a_run_trains_in_the_format_that_its_settings_name(tiny_model: str, tmp_path: Path) -> None:
    run = rlllm.sft(model=tiny_model, dtype="bfloat16", attn_implementation="eager", output_dir=tmp_path, **TRAINING)
    assert run.ok
    assert stored_dtype(run.model) == "bfloat16"
    assert run.config["settings"]["model"] == {"name": tiny_model, "dtype": "bfloat16", "attention": "eager"}
    assert read_json(run.model / "config.json")["dtype"] == "bfloat16"


REFUSED = [
    ({"dtype": "float16"}, {}, "weights in float16 cannot be trained"),
    ({"attention": "flash_attention_2"}, {}, "pip install flash-attn"),
    ({"attention": "flash"}, {}, "input should be 'sdpa', 'eager' or 'flash_attention_2'"),
    ({"dtype": "fp16"}, {}, "input should be 'auto', 'float32', 'bfloat16' or 'float16'"),
]


@pytest.mark.skipif(find_spec("flash_attn") is not None, reason="flash-attn is installed here")
@pytest.mark.parametrize(("model", "settings", "words"), REFUSED)
def test_what_cannot_be_loaded_or_trained_is_refused_when_a_run_is_planned(
    model: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(resolve_settings("sft", {"model": {"name": "nano", **model}, "data": DATA, **settings}))
    assert words in str(caught.value)


def test_a_plan_says_which_steps_are_lost_in_bfloat16() -> None:
    recipe = {"model": {"name": "nano", "dtype": "bfloat16"}, "data": DATA, "learning_rate": 1e-6}
    planned = plan(resolve_settings("sft", recipe))
    assert ("loading", "dtype bfloat16") in planned.lines()
    assert any("a step of 1e-06 is lost on weights above 0.00051" in text for _, text in planned.lines())
    with_adapters = plan(resolve_settings("sft", {**recipe, "lora": {"r": 2}}))
    assert not any("is lost on weights" in text for _, text in with_adapters.lines())


def test_activations_are_not_offloaded_from_a_cpu(tiny_model: str, tmp_path: Path) -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is an accelerator here")
    with pytest.raises(ConfigError, match="this run has no accelerator"):
        rlllm.sft(model=tiny_model, activation_offloading=True, output_dir=tmp_path / "run", **TRAINING)
