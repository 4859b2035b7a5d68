"""What a run on many GPUs will take: memory of each, bytes that each sends, and the time of a step by stated speeds.

Pure functions of sizes. Memory of sharded states is that of ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054, section 5),
activations follow Korthikanti et al. (2022, arXiv 2205.05198) for a layer with fused attention, and a ring sends (n - 1) / n of
a tensor in an all-gather or a reduce-scatter, twice that in an all-reduce. Nothing is measured: speeds are those that makers
of devices state, times the share of them (`EFFICIENCY`) that is assumed to be reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import ConfigError, unknown

SHARDED = {
    "local": frozenset[str](),
    "ddp": frozenset[str](),
    "fsdp": frozenset({"weights", "gradients", "optimizer"}),
    "deepspeed-zero2": frozenset({"gradients", "optimizer"}),
    "deepspeed-zero3": frozenset({"weights", "gradients", "optimizer"}),
}
"""Engine of `launch` -> which states each process holds a part of."""
SAMPLERS = ("native", "colocate", "server")
"""Where completions are sampled: in the training process, by vLLM on the same GPUs, or by a vLLM server on others."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as its maker states it."""

    memory: float
    """Bytes."""
    flops: float
    """Multiplications and additions a second in bfloat16, dense."""
    bandwidth: float
    """Bytes a second from its memory."""
    inside: float
    """Bytes a second to the other GPUs of the machine, in one direction."""


DEVICES: Mapping[str, Device] = {
    "a100-80gb": Device(80e9, 312e12, 2.04e12, 300e9),
    "h100-80gb": Device(80e9, 989e12, 3.35e12, 450e9),
    "h200-141gb": Device(141e9, 989e12, 4.8e12, 450e9),
}
BETWEEN = 400e9
"""Bytes a second between machines, in one direction: eight adapters of 400 Gbit/s."""
EFFICIENCY: Mapping[str, float] = {"training": 0.4, "decoding": 0.6, "communication": 0.8}
"""Share of a device's stated speed that is assumed to be reached: of `flops` in training and in prefill, of `bandwidth` while
tokens are decoded, of the network."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder."""

    parameters: int
    block: int
    """Parameters of one layer."""
    layers: int
    hidden: int
    key_values: int
    """Numbers of one token's keys and values in one layer."""
    vocabulary: int

    @classmethod
    def of_config(cls, config: Mapping[str, Any], parameters: int | None = None) -> Shape:
        """The shape behind a config.json with the names of the Llama family.

        Args:
            config: the file's content.
            parameters: numbers in the model's weights where they are known; else they are counted by `config`.

        Raises:
            ConfigError: the config has not these names.
        """
        text = config.get("text_config") or config
        try:
            hidden, layers, heads = (text[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
            inner, vocabulary = text["intermediate_size"], text["vocab_size"]
        except KeyError as error:
            raise ConfigError(
                "a plan for many GPUs reads the sizes of a model from its config.json, and one is missing",
                given=str(text.get("model_type")),
                hint=f"a decoder whose config has {error.args[0]}",
            ) from error
        size = text.get("head_dim") or hidden // heads
        keys = text.get("num_key_value_heads") or heads
        biased = text.get("model_type") == "qwen2" or bool(text.get("attention_bias"))
        projections = (heads + 2 * keys) * size
        block = hidden * projections + heads * size * hidden + 3 * hidden * inner + 2 * hidden + biased * projections
        tables = vocabulary * hidden * (1 if text.get("tie_word_embeddings") else 2)
        counted = layers * block + tables + hidden
        return cls(parameters or counted, block, layers, hidden, 2 * keys * size, vocabulary)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training step of RL on many GPUs."""

    shape: Shape
    how: str = "ddp"
    """Engine of `launch`: how processes share the model."""
    processes: int = 1
    """All of them; each has a GPU."""
    per_machine: int = 8
    """Processes on one machine."""
    completions: int
    """That a process learns from in one micro-step."""
    accumulation: int = 1
    """Micro-steps of an optimizer step; a rollout feeds one optimizer step."""
    prompt: int
    """Tokens of a prompt."""
    completion: int
    """Tokens of a completion."""
    group: int = 8
    """Completions of a prompt."""
    weight_bytes: int = 4
    """Of a weight, a gradient and an Adam moment as they are kept: 4, or 2 for a model that is kept in bfloat16."""
    compute_bytes: int = 2
    """Of a number in a matrix product: 2 with `bf16`."""
    trained: int | None = None
    """Numbers that learn; None: all."""
    reference: bool = False
    passes: int = 0
    """Forward passes over every completion beside the loss's: by the policy that sampled, by a reference."""
    checkpointing: bool = True
    """Whether activations are computed again in the backward pass."""
    sampler: str = "native"
    tensor_parallel: int = 1
    """GPUs that hold one copy of the sampler."""
    sampler_share: float = 0.3
    """Of a GPU's memory, what the sampler has (TRL: vllm_gpu_memory_utilization); of a server's GPUs."""
    sampler_gpus: int = 0
    """GPUs of a server."""

    def __post_init__(self) -> None:
        if self.how not in SHARDED:
            raise unknown("engine of launch", self.how, SHARDED)
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        if self.how == "local" and self.processes > 1:
            raise ConfigError(
                "launch=local is one process", given=f"{self.processes} processes", hint="launch=ddp or launch=fsdp"
            )
        if (self.sampler_gpus or self.processes) % self.tensor_parallel:
            raise ConfigError(
                "the GPUs of the sampler cannot be cut into copies",
                given=f"{self.sampler_gpus or self.processes} GPUs, {self.tensor_parallel} a copy",
                hint=f"a divisor of {self.sampler_gpus or self.processes}",
            )

    @property
    def learning(self) -> int:
        return self.shape.parameters if self.trained is None else self.trained

    @property
    def tokens(self) -> int:
        """Of one prompt with its completion."""
        return self.prompt + self.completion

    @property
    def kept_bytes(self) -> tuple[int, int, int]:
        """Bytes a parameter of weights, gradients and optimizer states: DeepSpeed keeps 16-bit weights and gradients, and a
        32-bit copy beside the two moments, where it computes in 16 bits."""
        if self.how.startswith("deepspeed") and self.compute_bytes == 2:
            return 2, 2, 12
        return self.weight_bytes, self.weight_bytes, 2 * self.weight_bytes

    @property
    def cache_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        own = self.compute_bytes if self.sampler != "native" else self.kept_bytes[0]
        return self.shape.layers * self.shape.key_values * own


def memory(job: Job, device: Device) -> dict[str, float]:
    """Bytes on the GPU of each training process, by what they hold; the largest moment is at most their sum."""
    shape, sharded, count = job.shape, SHARDED[job.how], job.processes
    weight, gradient, optimizer = job.kept_bytes
    parts = {name: count if name in sharded else 1 for name in ("weights", "gradients", "optimizer")}
    frozen = shape.parameters * weight / parts["weights"]
    found = {
        "weights": frozen,
        "gradients": job.learning * gradient / parts["gradients"],
        "optimizer": job.learning * optimizer / parts["optimizer"],
        "reference": frozen * (job.reference and job.trained is None),
        "computed copy": _computed_copy(job, weight),
        "activations": activations(job),
        "log-probabilities": 4.0 * job.completions * job.completion * 8,
    }
    if job.sampler == "native":
        rows = job.completions * job.accumulation
        found["keys and values"] = float(rows * job.tokens * job.cache_bytes)
    if job.sampler == "colocate":
        found |= sampler_memory(job, device)
    return found


def sampler_memory(job: Job, device: Device) -> dict[str, float]:
    """Bytes on each GPU of a vLLM sampler, by what they hold."""
    return {
        "sampler's weights": job.shape.parameters * job.compute_bytes / job.tensor_parallel,
        "keys and values": concurrent(job, device) * job.tokens * job.cache_bytes / job.tensor_parallel,
    }


def _computed_copy(job: Job, weight: int) -> float:
    """Weights in the form that products read: of two layers where weights are sharded (one is used, one on its way), the
    whole model where autocast keeps a second one, none where weights are kept in that form."""
    if "weights" in SHARDED[job.how] and job.processes > 1:
        return 2.0 * max(job.shape.block, job.shape.vocabulary * job.shape.hidden) * job.compute_bytes
    return float(job.shape.parameters * job.compute_bytes) if weight != job.compute_bytes else 0.0


def activations(job: Job) -> float:
    """Bytes that one micro-step keeps for its backward pass: 34 a token, hidden number and layer in 16 bits; with
    checkpointing 2 of every layer, and all of one."""
    unit = job.completions * job.tokens * job.shape.hidden * job.compute_bytes / 2
    return unit * (2 * job.shape.layers + 34) if job.checkpointing else unit * 34 * job.shape.layers


def communication(job: Job) -> dict[str, float]:
    """Bytes that each training process sends in one optimizer step, by what for. Gradients are reduced in every micro-step
    where they are sharded."""
    count, shape, sharded = job.processes, job.shape, SHARDED[job.how]
    if count == 1:
        return {}
    ring = (count - 1) / count
    weight, gradient, _ = job.kept_bytes
    if not sharded:
        return {"all-reduce of gradients": 2 * ring * gradient * job.learning}
    reduced = min(gradient, job.compute_bytes)
    sent = {"reduce-scatter of gradients": job.accumulation * ring * reduced * job.learning}
    if "weights" not in sharded:
        return {**sent, "all-gather of weights": ring * weight * job.learning}
    gathers = job.accumulation * (2 + job.passes)
    sent["all-gather of weights"] = gathers * ring * job.compute_bytes * shape.parameters
    if job.sampler != "native":
        sent["all-gather for the sampler"] = ring * weight * shape.parameters
    return sent


def concurrent(job: Job, device: Device) -> int:
    """Completions that one copy of a vLLM sampler decodes at once: as many as `sampler_share` of its GPUs holds, at least 1."""
    room = job.tensor_parallel * job.sampler_share * device.memory
    room -= job.shape.parameters * job.compute_bytes
    return max(1, min(_rows_of_a_copy(job), int(room // (job.tokens * job.cache_bytes))))


def _rows_of_a_copy(job: Job) -> int:
    """Completions of a rollout that one copy of the sampler decodes."""
    copies = (job.sampler_gpus or job.processes) // job.tensor_parallel
    return math.ceil(job.completions * job.accumulation * job.processes / copies)


def forward_flops(job: Job) -> float:
    """Operations of one forward pass over one prompt with its completion: 2 a parameter and token, and causal attention."""
    attention = 2 * job.shape.layers * job.shape.hidden * job.tokens
    return float(job.tokens * (2 * job.shape.parameters + attention))


def seconds(job: Job, device: Device, between: float = BETWEEN) -> dict[str, float]:
    """Expected seconds of one optimizer step by phase: sampling, passes without gradient, the update, and communication.

    `at least` has all communication hidden behind the update, as far as that is long enough; `at most` hides none.

    Args:
        job: the step.
        device: every GPU.
        between: bytes a second between machines.
    """
    computed = job.completions * job.accumulation * forward_flops(job) / (device.flops * EFFICIENCY["training"])
    scoring = job.passes * computed
    update = computed * (4 if job.checkpointing else 3)
    network = device.inside if job.processes <= job.per_machine else min(device.inside, between)
    sending = sum(communication(job).values()) / (network * EFFICIENCY["communication"])
    sampling = sampling_seconds(job, device)
    return {
        "sampling": sampling,
        "scoring": scoring,
        "update": update,
        "communication": sending,
        "at least": sampling + max(scoring + update, sending),
        "at most": sampling + scoring + update + sending,
    }


def sampling_seconds(job: Job, device: Device) -> float:
    """Expected seconds until a rollout is sampled: prompts are encoded once a group, and each token reads the weights and the
    keys and values of what is decoded together."""
    rows, gpus = _rows_of_a_copy(job), job.tensor_parallel
    together = rows if job.sampler == "native" else concurrent(job, device)
    weights = job.shape.parameters * (job.kept_bytes[0] if job.sampler == "native" else job.compute_bytes)
    read = weights + together * (job.prompt + job.completion / 2) * job.cache_bytes
    speed = device.flops * EFFICIENCY["training"]
    a_token = max(
        read / (gpus * device.bandwidth * EFFICIENCY["decoding"]), together * 2 * job.shape.parameters / (gpus * speed)
    )
    prefill = rows / job.group * job.prompt * 2 * job.shape.parameters / (gpus * speed)
    return math.ceil(rows / together) * job.completion * a_token + prefill
