"""What a planned RL run takes on many GPUs: the rows that `--dry-run` shows of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.hardware import bytes_text
from rlllm.core.records import Message
from rlllm.launch.topology import processes_of, topology
from rlllm.policies.model_sources import weight_shapes
from rlllm.training.plan import RLPlan
from rlllm.training.precision import planned_dtype
from rlllm.training.scale_plan import DEVICES, Job, Shape, communication, memory, seconds

_CHARACTERS = 4
"""Of a token of a prompt, about: a plan knows no tokenizer of a model that is not at hand."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A run's step on many GPUs, computed; nothing of it is measured.

    Args:
        job: the step.
        gpus: whether the processes have GPUs; speeds of CPUs are not known.
        served: whether servers sample, whose time is not counted.
    """

    job: Job
    gpus: bool
    served: bool

    def lines(self) -> Iterator[tuple[str, str]]:
        """Label and value rows for a person."""
        job, device = self.job, DEVICES["h100-80gb"]
        parts = memory(job, device)
        total = sum(parts.values())
        sizes = ", ".join(f"{name} {bytes_text(size)}" for name, size in parts.items() if size >= total / 100)
        yield "scale", f"{job.processes} processes by {job.how}: about {bytes_text(total)} in each ({sizes})"
        sent = communication(job)
        if sent:
            yield "", f"each sends {bytes_text(sum(sent.values()))} a step ({', '.join(sent)})"
        if self.gpus:
            phases = seconds(job, device)
            low, high = phases["at least"], phases["at most"]
            what = "without the servers' sampling" if self.served else f"of which sampling {phases['sampling']:.0f}"
            least = low - phases["sampling"] * self.served
            most = high - phases["sampling"] * self.served
            yield "", f"a step on H100: {least:.0f} to {most:.0f} seconds {what}, by stated speeds and not measured"

    def to_json(self) -> dict[str, Any]:
        device = DEVICES["h100-80gb"]
        return {
            "job": asdict(self.job),
            "memory": memory(self.job, device),
            "sent": communication(self.job),
            **({"seconds": {name: seconds(self.job, known) for name, known in DEVICES.items()}} if self.gpus else {}),
        }


def scale_of(plan: object, passes: int, trained: int | None) -> Scale | None:
    """The step of a plan of several processes; None for one process, for several updates a rollout, and for models whose sizes
    are not known.

    Args:
        passes: forward passes over every completion beside the loss's.
        trained: numbers that learn; None: all.
    """
    if not isinstance(plan, RLPlan) or plan.batches.steps_per_rollout > 1 or plan.source.folder is None:
        return None
    launch, count = plan.config.launch, processes_of(plan.config.launch)
    shapes = weight_shapes(plan.source.folder)
    if count == 1 or shapes is None or plan.source.loading.quantisation:
        return None
    place = None if launch.name == "local" else topology(launch)
    gpus = bool(place and place.gpus)
    try:
        shape = Shape.of_config(json.loads((plan.source.folder / "config.json").read_text(encoding="utf-8")))
        job = Job(
            shape=shape,
            how=launch.how,
            processes=count,
            per_machine=place.processes if place else count,
            completions=plan.setting("per_device_train_batch_size"),
            accumulation=plan.setting("gradient_accumulation_steps"),
            prompt=_prompt_tokens(plan),
            completion=plan.config.rollout.max_new_tokens,
            group=plan.batches.group_size,
            weight_bytes=_bytes(planned_dtype(plan.source) or ("bfloat16" if gpus else "float32")),
            compute_bytes=2 if plan.settings.get("bf16", gpus) else 4,
            trained=trained,
            reference=float(plan.setting("beta")) > 0,
            passes=passes,
            checkpointing=bool(plan.setting("gradient_checkpointing")),
            **_sampler(plan),
        )
    except ConfigError:  # a model with other names in its config, or a sampler that these processes cannot be cut into
        return None
    return Scale(job, gpus, job.sampler == "server")


def _bytes(dtype: str) -> int:
    return 4 if dtype == "float32" else 2


def _sampler(plan: RLPlan[Any]) -> Mapping[str, Any]:
    """Where completions are sampled, in the words of `Job`."""
    settings, rollout = plan.settings, plan.config.rollout
    if settings.get("use_vllm"):
        if plan.setting("vllm_mode") == "server":
            return {"sampler": "server"}
        return {
            "sampler": "colocate",
            "tensor_parallel": plan.setting("vllm_tensor_parallel_size"),
            "sampler_share": plan.setting("vllm_gpu_memory_utilization"),
        }
    if rollout.engine == "vllm-server":
        return {"sampler": "server"}
    if rollout.engine == "vllm":
        return {"sampler": "colocate", "sampler_share": rollout.serving.memory}
    return {"sampler": "native"}


def _prompt_tokens(plan: RLPlan[Any]) -> int:
    """Tokens of a prompt, about, by the mean of its characters."""
    rows = plan.loaded.train[:256]
    characters = sum(len(_text(task.prompt)) for task in rows)
    return max(1, round(characters / max(len(rows), 1) / _CHARACTERS))


def _text(prompt: str | list[Message]) -> str:
    return prompt if isinstance(prompt, str) else "".join(str(message["content"]) for message in prompt)
