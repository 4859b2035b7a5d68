"""Batch arithmetic of the loop, before anything is loaded: what TRL would reject late, or round away silently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How many prompts and completions one rollout and one optimizer step take, over all processes."""

    group_size: int
    completions_per_rollout: int
    completions_per_step: int
    steps_per_rollout: int
    """Optimizer steps between two points at which a checkpoint resumes exactly."""

    @property
    def prompts_per_rollout(self) -> int:
        return self.completions_per_rollout // self.group_size

    def describe(self) -> str:
        return (
            f"{self.prompts_per_rollout} prompts x {self.group_size} = {self.completions_per_rollout} completions a rollout, "
            f"{self.completions_per_step} a step"
        )


def plan_batches(settings: Mapping[str, Any], group_size: int, processes: int = 1) -> BatchPlan:
    """Resolve TRL's batch settings.

    Args:
        settings: TRL fields as they will be passed; missing ones take TRL's defaults.
        group_size: completions a prompt.
        processes: training processes.

    Raises:
        ConfigError: the numbers do not divide; the hint lists some that do.
    """
    micro, accumulation, iterations, save_steps = (
        _setting(settings, name)
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps", "num_iterations", "save_steps")
    )
    rollout_steps = _rollout_steps(settings, micro * processes, accumulation)
    rollout = micro * processes * rollout_steps
    local = micro * rollout_steps
    if local % group_size:
        raise ConfigError(
            f"a rollout of {local} completions cannot be cut into groups of {group_size}",
            given=f"per_device_train_batch_size={micro} x steps_per_generation={rollout_steps}, group_size={group_size}",
            hint=_working_sizes(micro, rollout_steps, group_size, local),
        )
    boundary = math.lcm(accumulation, rollout_steps * iterations) // accumulation
    if boundary > 1 and (save_steps < 1 or save_steps % boundary):
        below = max(int(save_steps) // boundary, 1) * boundary
        raise ConfigError(
            "checkpoints would fall inside a rollout, and a resume from there is not exact",
            given=f"save_steps={save_steps}, one rollout lasts {boundary} optimizer steps",
            hint=f"save_steps={below} or save_steps={below + boundary}",
        )
    return BatchPlan(group_size, rollout, micro * processes * accumulation, boundary)


def _setting(settings: Mapping[str, Any], name: str) -> Any:
    return settings.get(name, trl_fields.table("GRPOConfig")[name]["default"])


def _rollout_steps(settings: Mapping[str, Any], step: int, accumulation: int) -> int:
    """Micro-steps fed by one rollout (TRL's steps_per_generation)."""
    asked, size = settings.get("steps_per_generation"), settings.get("generation_batch_size")
    if asked is not None and size is not None:
        raise ConfigError(
            "steps_per_generation and generation_batch_size say the same thing twice", hint="set one of them"
        )
    if size is not None:
        if size % step:
            raise ConfigError(
                "generation_batch_size must be a multiple of the batch of all processes",
                given=f"generation_batch_size={size}, batch {step}",
                hint=f"generation_batch_size={max(size // step, 1) * step} or {(size // step + 1) * step}",
            )
        return size // step
    return asked if asked is not None else accumulation


def _working_sizes(micro: int, rollout_steps: int, group_size: int, local: int) -> str:
    unit = group_size // math.gcd(group_size, rollout_steps)
    below, above = micro // unit * unit, (micro // unit + 1) * unit
    sizes = " or ".join(str(size) for size in (below, above) if size)
    divisors = [size for size in range(2, local + 1) if local % size == 0]
    nearest = sorted(divisors, key=lambda size: abs(size - group_size))[:2]
    groups = f", or group_size={' or '.join(map(str, sorted(nearest)))}" if nearest else ""
    return f"per_device_train_batch_size={sizes}{groups}"
