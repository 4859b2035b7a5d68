"""Plans for models of 7, 32 and 70 B parameters on 8, 16 and 64 GPUs: memory, bytes sent, and seconds of a step.

    python bench/scale_plans.py --output docs/results/scale-plans.json

Everything is computed by `rlllm.training.scale_plan` from the shapes of the models and the stated speeds of the devices;
nothing is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from results_file import add_output, write_results

from rlllm.training.scale_plan import (
    BETWEEN,
    DEVICES,
    EFFICIENCY,
    Job,
    Shape,
    communication,
    concurrent,
    memory,
    sampler_memory,
    seconds,
)

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "Qwen2.5-7B": {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "vocab_size": 152064,
    },
    "Qwen2.5-32B": {
        "model_type": "qwen2",
        "hidden_size": 5120,
        "num_hidden_layers": 64,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "intermediate_size": 27648,
        "vocab_size": 152064,
    },
    "Llama-3.1-70B": {
        "model_type": "llama",
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 28672,
        "vocab_size": 128256,
    },
}
"""Sizes as published in the config.json of each model."""
LENGTHS = {"prompt": 512, "completion": 2048, "group": 8, "passes": 1}
"""One pass by the policy that sampled: with vLLM the mismatch is always measured."""
JOBS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "scale-7b": (
        "Qwen2.5-7B",
        {"how": "fsdp", "processes": 8, "completions": 8, "accumulation": 16, "sampler": "colocate"},
    ),
    "scale-32b": (
        "Qwen2.5-32B",
        {
            "how": "fsdp",
            "processes": 16,
            "completions": 4,
            "accumulation": 16,
            "sampler": "colocate",
            "tensor_parallel": 4,
        },
    ),
    "scale-70b": (
        "Llama-3.1-70B",
        {
            "how": "fsdp",
            "processes": 64,
            "completions": 4,
            "accumulation": 4,
            "sampler": "colocate",
            "tensor_parallel": 8,
        },
    ),
}
"""Recipe -> model, and how it is trained."""
GB = 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_output(parser)
    options = parser.parse_args()
    results = {
        "devices": {
            name: {
                "memory_gb": device.memory / GB,
                "tflops": device.flops / 1e12,
                "memory_gb_per_second": device.bandwidth / GB,
                "inside_gb_per_second": device.inside / GB,
            }
            for name, device in DEVICES.items()
        },
        "between_gb_per_second": BETWEEN / GB,
        "efficiency": dict(EFFICIENCY),
        "lengths": LENGTHS,
        "plans": [plan(name) for name in JOBS],
        "engines": engines("scale-7b"),
    }
    for row in results["plans"]:
        print(row)
    write_results(options.output, results, sources=["src/rlllm/training/scale_plan.py"])


def job_of(name: str) -> Job:
    """The step of a recipe."""
    model, settings = JOBS[name]
    return Job(shape=Shape.of_config(CONFIGS[model]), **LENGTHS, **settings)


def plan(name: str) -> dict[str, Any]:
    """One recipe on each device."""
    job = job_of(name)
    rows = job.completions * job.accumulation * job.processes
    return {
        "recipe": name,
        "model": JOBS[name][0],
        "parameters": job.shape.parameters,
        "machines": -(-job.processes // job.per_machine),
        "gpus": job.processes,
        "engine": job.how,
        "tensor_parallel": job.tensor_parallel,
        "completions": rows,
        "tokens": rows * job.tokens,
        **described(job),
        "devices": {device: timed(job, device) for device in DEVICES},
    }


def described(job: Job) -> dict[str, Any]:
    """Gigabytes of a step on the device with the least memory."""
    device = DEVICES["h100-80gb"]
    found, sampler = memory(job, device), sampler_memory(job, device)
    training = {part: size for part, size in found.items() if part not in sampler}
    return {
        "memory_gb": {part: size / GB for part, size in found.items()},
        "training_gb": sum(training.values()) / GB,
        "sampler_gb": sum(sampler.values()) / GB if job.sampler == "colocate" else 0.0,
        "total_gb": sum(found.values()) / GB,
        "sent_gb": {part: size / GB for part, size in communication(job).items()},
        "sent_total_gb": sum(communication(job).values()) / GB,
    }


def timed(job: Job, name: str) -> dict[str, Any]:
    """Seconds of a step on a device, and completions that a copy of the sampler decodes at once."""
    phases = seconds(job, DEVICES[name])
    rows = job.completions * job.accumulation * job.processes
    return {
        **phases,
        "concurrent": concurrent(job, DEVICES[name]),
        "tokens_per_second": rows * job.tokens / phases["at most"],
    }


def engines(name: str) -> list[dict[str, Any]]:
    """A recipe under every engine of `launch`, with all weights and with adapters of rank 16."""
    job = job_of(name)
    rows = []
    for how in ("ddp", "deepspeed-zero2", "deepspeed-zero3", "fsdp"):
        for weights, trained in (("all", None), ("LoRA, rank 16", adapters(job.shape, CONFIGS[JOBS[name][0]], 16))):
            changed = replace(job, how=how, trained=trained, weight_bytes=4 if trained is None else 2)
            rows.append({"engine": how, "learns": weights, **described(changed)})
    return rows


def adapters(shape: Shape, config: Mapping[str, Any], rank: int) -> int:
    """Numbers in adapters on every linear layer of the blocks."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = shape.key_values // 2
    pairs = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden)] + 2 * [(hidden, inner)]
    return shape.layers * rank * sum(a + b for a, b in [*pairs, (inner, hidden)])


if __name__ == "__main__":
    main()
