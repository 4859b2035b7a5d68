"""Weights in 4 and 8 bits, by the real bitsandbytes: what they compute, what trains on them, and what is kept of it."""

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
from rlllm.policies.loading import load_policy
from rlllm.policies.model_sources import resolve_model, source_of
from rlllm.stages.catalog import plan, resolve_settings

DATA = {"name": "arithmetic", "level": 1, "rows": 32, "holdout": 8}
installed = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_quantised_weights_without_the_package_are_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match="pip install bitsandbytes"):
        plan(resolve_settings("sft", {"load_in_4bit": True, "lora": {"r": 2}, "data": DATA}))


@installed
def test_quantised_weights_are_not_trained_themselves() -> None:
    with pytest.raises(ConfigError, match="what trains are adapters on them"):
        plan(resolve_settings("sft", {"model": {"name": "nano", "quantisation": "4bit"}, "data": DATA}))


def quantised(bits: Any) -> Any:
    return load_policy(source_of(ModelConfig(name="nano", quantisation=bits)))


@installed
@pytest.mark.parametrize(("bits", "near"), [("4bit", 0.3), ("8bit", 0.1)])
def test_quantised_weights_take_less_room_and_compute_about_the_same(bits: str, near: float) -> None:
    whole, small = load_policy(resolve_model("nano")), quantised(bits)
    assert small.get_memory_footprint() < 0.5 * whole.get_memory_footprint()
    before, after = sample_outputs(whole), sample_outputs(small)
    assert 0 < float((before - after).abs().max()) < near * float(before.abs().max())


@installed
def test_adapters_on_four_bits_get_the_gradients_of_the_same_weights_written_out() -> None:
    """Also after a pass without gradients, such as a measurement before training."""
    import bitsandbytes.functional as bnb
    from peft import LoraConfig, get_peft_model

    def gradients(model: Any) -> list[torch.Tensor]:
        torch.manual_seed(0)
        config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        adapted = get_peft_model(model, config)
        ids = torch.arange(4, 24)[None]
        adapted.eval()
        with torch.no_grad():
            adapted(input_ids=ids)
        adapted.train()
        adapted(input_ids=ids, labels=ids).loss.backward()
        return [parameter.grad for name, parameter in adapted.named_parameters() if "lora_" in name]

    small, written_out = quantised("4bit"), load_policy(resolve_model("nano"))
    modules = dict(small.named_modules())
    for name, module in written_out.named_modules():
        state = getattr(getattr(modules[name], "weight", None), "quant_state", None)
        if state is not None:
            module.weight.data = bnb.dequantize_4bit(modules[name].weight.data, state).float()
    for ours, expected in zip(gradients(small), gradients(written_out), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-3)


RUNS: list[tuple[str, dict[str, Any]]] = [
    ("sft", {}),
    ("reason", {"rewards": ["exact"], "rollout": {"max_new_tokens": 32}, "beta": 0.05}),
    ("align", {"method": "dpo"}),
]


@installed
@pytest.mark.slow
@pytest.mark.parametrize(("verb", "more"), RUNS)
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_qlora_trains_and_its_adapter_is_a_model_on_the_whole_base(
    verb: str, more: dict[str, Any], bits: str, tmp_path: Path
) -> None:
    run = getattr(rlllm, verb)(
        model={"name": "nano", "quantisation": bits},
        data=DATA,
        lora={"r": 4},
        max_steps=2,
        learning_rate=1e-3,
        eval={"rows": 4},
        output_dir=tmp_path / "run",
        **more,
    )
    assert run.carried_out, run.verdict["reasons"]
    assert read_json(run.model / "adapter_config.json")["base_model_name_or_path"].endswith("nano")
    assert len(run.results["measures"]) >= 1
    again = load_policy(resolve_model(str(run.path)))
    assert again.dtype == torch.float32
    assert not torch.equal(sample_outputs(again), sample_outputs(load_policy(resolve_model("nano"))))
    evaluation = rlllm.evaluate(
        model={"name": str(run.path), "quantisation": bits},
        tasks=["arithmetic"],
        rows=2,
        samples=1,
        sampling={"max_new_tokens": 4},
        output_dir=tmp_path / "eval",
    )
    assert evaluation.ok
