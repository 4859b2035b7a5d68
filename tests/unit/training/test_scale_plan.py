"""Plans for many GPUs: parameter counts as published, memory of the ZeRO paper, bytes of a ring, and times by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import RlllmError
from rlllm.training.scale_plan import (
    DEVICES,
    EFFICIENCY,
    SHARDED,
    Device,
    Job,
    Shape,
    activations,
    communication,
    concurrent,
    forward_flops,
    memory,
    sampler_memory,
    sampling_seconds,
    seconds,
)

H100 = DEVICES["h100-80gb"]
QWEN_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
QWEN_32B = {
    **QWEN_7B,
    "hidden_size": 5120,
    "num_hidden_layers": 64,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "intermediate_size": 27648,
}
LLAMA_70B = {
    "model_type": "llama",
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "intermediate_size": 28672,
    "vocab_size": 128256,
}
SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (QWEN_7B, 7_615_616_512),
        (QWEN_32B, 32_763_876_352),
        (LLAMA_70B, 70_553_706_496),
        (SMOLLM2, 134_515_008),
    ],
)
def test_parameters_are_counted_as_published(config: dict[str, Any], parameters: int) -> None:
    assert Shape.of_config(config).parameters == parameters


def test_a_config_without_the_sizes_is_refused_with_the_one_that_is_missing() -> None:
    with pytest.raises(RlllmError, match="many GPUs") as caught:
        Shape.of_config({"model_type": "gpt2", "n_embd": 768})
    assert "hidden_size" in str(caught.value)


ROUND = Shape(7_500_000_000, 200_000_000, 32, 4096, 2048, 32000)
"""The 7.5 B parameters of figure 1 of the ZeRO paper."""


def job(**changes: Any) -> Job:
    return Job(**{"shape": ROUND, "completions": 1, "prompt": 100, "completion": 400, **changes})


@pytest.mark.parametrize(
    ("how", "count", "gigabytes"),
    [("deepspeed-zero2", 64, 16.6), ("deepspeed-zero3", 64, 1.9), ("deepspeed-zero3", 1, 120)],
)
def test_states_take_what_the_zero_paper_says(how: str, count: int, gigabytes: float) -> None:
    found = memory(job(how=how, processes=count), H100)
    assert sum(found[name] for name in ("weights", "gradients", "optimizer")) / 1e9 == pytest.approx(
        gigabytes, abs=0.05
    )


@pytest.mark.parametrize(
    ("how", "count", "changes", "states"),
    [
        ("ddp", 8, {}, (30, 30, 60)),
        ("fsdp", 8, {}, (3.75, 3.75, 7.5)),
        ("ddp", 8, {"weight_bytes": 2}, (15, 15, 30)),
        ("deepspeed-zero2", 8, {}, (15, 1.875, 11.25)),
        ("deepspeed-zero2", 8, {"compute_bytes": 4}, (30, 3.75, 7.5)),
        ("fsdp", 8, {"trained": 75_000_000}, (3.75, 0.0375, 0.075)),
    ],
)
def test_weights_gradients_and_optimizer_in_gigabytes(
    how: str, count: int, changes: dict[str, Any], states: tuple[float, ...]
) -> None:
    found = memory(job(how=how, processes=count, **changes), H100)
    assert [found[name] / 1e9 for name in ("weights", "gradients", "optimizer")] == pytest.approx(states)


def test_a_reference_is_a_second_model_unless_adapters_are_switched_off_for_it() -> None:
    assert memory(job(how="fsdp", processes=8, reference=True), H100)["reference"] == 3.75e9
    assert memory(job(how="ddp", processes=8, reference=True), H100)["reference"] == 30e9
    assert memory(job(how="ddp", processes=8, reference=True, trained=10), H100)["reference"] == 0


def test_autocast_keeps_a_copy_and_sharded_weights_are_gathered_by_layer() -> None:
    assert memory(job(), H100)["computed copy"] == 15e9
    assert memory(job(weight_bytes=2), H100)["computed copy"] == 0
    assert memory(job(how="fsdp", processes=8), H100)["computed copy"] == 2 * 200e6 * 2


def test_activations_by_hand() -> None:
    one = 500 * 4096
    assert activations(job(checkpointing=False)) == one * 34 * 32
    assert activations(job(checkpointing=True)) == one * (2 * 32 + 34)
    assert activations(job(completions=3, compute_bytes=4)) == 6 * one * (2 * 32 + 34)


RING = 7 / 8


@pytest.mark.parametrize(
    ("how", "changes", "sent"),
    [
        ("ddp", {}, {"all-reduce of gradients": 2 * RING * 30e9}),
        ("ddp", {"accumulation": 4}, {"all-reduce of gradients": 2 * RING * 30e9}),
        ("ddp", {"trained": 1_000}, {"all-reduce of gradients": 2 * RING * 4000}),
        (
            "deepspeed-zero2",
            {"accumulation": 4},
            {"reduce-scatter of gradients": 4 * RING * 15e9, "all-gather of weights": RING * 15e9},
        ),
        ("fsdp", {}, {"reduce-scatter of gradients": RING * 15e9, "all-gather of weights": 2 * RING * 15e9}),
        (
            "deepspeed-zero3",
            {"accumulation": 4, "passes": 1, "sampler": "colocate"},
            {
                "reduce-scatter of gradients": 4 * RING * 15e9,
                "all-gather of weights": 12 * RING * 15e9,
                "all-gather for the sampler": RING * 15e9,
            },
        ),
    ],
)
def test_bytes_that_a_process_sends_in_a_step(how: str, changes: dict[str, Any], sent: dict[str, float]) -> None:
    assert communication(job(how=how, processes=8, **changes)) == pytest.approx(sent)
    assert communication(job(how=how, **changes)) == {}


def test_the_sampler_decodes_as_many_as_its_memory_holds() -> None:
    small = replace(ROUND, parameters=1_000_000_000)
    one = 500 * 32 * 2048 * 2  # keys and values of a completion with its prompt
    roomy = job(shape=small, sampler="colocate", completions=8, processes=1)
    assert concurrent(roomy, H100) == 8
    full = replace(roomy, completions=4000)
    assert concurrent(full, H100) == (0.3 * 80e9 - 2e9) // one
    assert sampler_memory(full, H100)["keys and values"] == concurrent(full, H100) * one
    halves = replace(full, processes=2, how="ddp", tensor_parallel=2)
    assert sampler_memory(halves, H100)["sampler's weights"] == 1e9


SIMPLE = Device(memory=1e12, flops=1e12, bandwidth=1e11, inside=1e9)


def test_seconds_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlllm.training.scale_plan.EFFICIENCY", dict.fromkeys(EFFICIENCY, 1.0))
    shape = Shape(1_000_000, 10_000, 2, 100, 50, 1000)
    small = job(shape=shape, how="fsdp", processes=4, completions=2, accumulation=3, passes=1, per_machine=4)
    flops = 500 * (2e6 + 2 * 2 * 100 * 500)
    assert forward_flops(small) == flops
    found = seconds(small, SIMPLE)
    assert found["scoring"] == pytest.approx(6 * flops / 1e12)
    assert found["update"] == pytest.approx(4 * 6 * flops / 1e12)
    sent = 3 * 0.75 * 2e6 * (1 + 3)
    assert found["communication"] == pytest.approx(sent / 1e9)
    assert found["at most"] == pytest.approx(sum(found[n] for n in ("sampling", "scoring", "update", "communication")))
    assert found["at least"] == pytest.approx(
        found["sampling"] + max(found["scoring"] + found["update"], found["communication"])
    )
    slow = seconds(replace(small, per_machine=2), SIMPLE, between=1e8)
    assert slow["communication"] == pytest.approx(sent / 1e8)


def test_decoding_reads_weights_and_keys_and_values_of_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlllm.training.scale_plan.EFFICIENCY", dict.fromkeys(EFFICIENCY, 1.0))
    shape = Shape(1_000_000, 10_000, 2, 100, 50, 1000)
    one = job(shape=shape, completions=8, group=8, sampler="colocate")
    cache = 2 * 50 * 2
    a_token = (2e6 + 8 * (100 + 200) * cache) / 1e11
    assert sampling_seconds(one, SIMPLE) == pytest.approx(400 * a_token + 100 * 2e6 / 1e12)


@given(st.sampled_from(["ddp", "fsdp", "deepspeed-zero2", "deepspeed-zero3"]), st.integers(1, 6), st.booleans())
def test_more_processes_never_need_more_memory_of_each(how: str, power: int, adapters: bool) -> None:
    few, many = (job(how=how, processes=2**n, trained=10**7 if adapters else None) for n in (power, power + 1))
    totals = [sum(memory(part, H100).values()) for part in (few, many)]
    assert totals[1] <= totals[0]
    assert (totals[1] < totals[0]) == bool(SHARDED[how])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"how": "zero9"}, "zero9"),
        ({"sampler": "sglang"}, "sglang"),
        ({"how": "local", "processes": 2}, "one process"),
        ({"how": "ddp", "processes": 8, "tensor_parallel": 3}, "cannot be cut"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RlllmError, match=message):
        job(**changes)
