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

from results_file import ROOT, add_output, write_results

from rlllm.core import yaml_io
from rlllm.training.scale_plan import (
    BETWEEN,
    DEVICES,
    EFFICIENCY,
    SHARDED,
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
PROMPT = 512
"""Tokens of a prompt: recipes do not say."""
SAMPLERS: Mapping[str, tuple[str, int]] = {
    "scale-7b": ("Qwen2.5-7B", 1),
    "scale-32b": ("Qwen2.5-32B", 4),
    "scale-70b": ("Llama-3.1-70B", 8),
}
"""Recipe -> model, and GPUs that hold one copy for vLLM, which samples on the GPUs that train."""
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
        "plans": [plan(name) for name in SAMPLERS],
        "engines": engines("scale-7b"),
    }
    for row in results["plans"]:
        print(row)
    write_results(
        options.output,
        results,
        sources=["src/rlllm/training/scale_plan.py", *(f"recipes/reason/{name}.yaml" for name in SAMPLERS)],
    )


def job_of(name: str) -> Job:
    """The step of a recipe, as its file says; weights are kept in float32."""
    recipe = yaml_io.read(ROOT / "recipes" / "reason" / f"{name}.yaml")
    model, copy = SAMPLERS[name]
    trainer, launch, rollout = (recipe[section] for section in ("trainer", "launch", "rollout"))
    return Job(
        shape=Shape.of_config(CONFIGS[model]),
        how=launch["engine"],
        processes=launch["nodes"] * launch["processes"],
        per_machine=launch["processes"],
        completions=trainer["per_device_train_batch_size"],
        accumulation=trainer["gradient_accumulation_steps"],
        prompt=PROMPT,
        completion=rollout["max_new_tokens"],
        group=rollout["group_size"],
        checkpointing=trainer["gradient_checkpointing"],
        passes=1,  # by the policy that sampled: the mismatch of vLLM is measured
        sampler="colocate",
        tensor_parallel=copy,
    )


def plan(name: str) -> dict[str, Any]:
    """One recipe on each device."""
    job = job_of(name)
    rows = job.completions * job.accumulation * job.processes
    return {
        "recipe": name,
        "model": SAMPLERS[name][0],
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
    """A recipe under every engine of `launch`, with all weights and, where the engine trains these, adapters of rank 16."""
    job = job_of(name)
    rows = []
    for how in ("ddp", "deepspeed-zero2", "deepspeed-zero3", "fsdp"):
        ways = [("all", None), ("LoRA, rank 16", adapters(job.shape, CONFIGS[SAMPLERS[name][0]], 16))]
        for weights, trained in ways if "weights" not in SHARDED[how] else ways[:1]:
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
