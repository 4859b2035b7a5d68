"""Batch arithmetic of RL: prompts and completions of a rollout and a step. Refuses what TRL rejects late or rounds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError

ROLLOUT_UPDATES = frozenset({"steps_per_generation", "generation_batch_size", "num_iterations"})
"""TRL settings that say how many updates are made on a rollout."""


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
            + (f", {self.steps_per_rollout} updates a rollout" if self.steps_per_rollout > 1 else "")
        )


def rows_of_step(trl_config: str, settings: Mapping[str, Any], processes: int) -> int:
    """Rows, or completions in the loop, that one optimizer step takes over all processes.

    Args:
        trl_config: name of the TRL config that the settings are of.
        settings: TRL fields as they will be passed; missing ones take TRL's defaults.
        processes: training processes.
    """
    read = partial(trl_fields.value, trl_config, settings)
    return read("per_device_train_batch_size") * read("gradient_accumulation_steps") * processes


def plan_batches(settings: Mapping[str, Any], group_size: int, processes: int = 1) -> BatchPlan:
    """Resolve TRL's batch settings.

    Args:
        settings: TRL fields as they will be passed; missing ones take TRL's defaults.
        group_size: completions a prompt.
        processes: training processes.

    Raises:
        ConfigError: the numbers do not divide; the hint lists some that do.
    """
    micro, accumulation, iterations = (
        _count(settings, name)
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps", "num_iterations")
    )
    rollout_steps = _rollout_steps(settings, group_size, processes)
    rollout = micro * processes * rollout_steps
    local = micro * rollout_steps
    if local % group_size:
        raise ConfigError(
            f"a rollout of {local} completions cannot be cut into groups of {group_size}",
            given=f"per_device_train_batch_size={micro} x steps_per_generation={rollout_steps}, group_size={group_size}",
            hint=_working_sizes(micro, rollout_steps, group_size, local),
        )
    boundary = _steps_per_rollout(rollout_steps * iterations, accumulation)
    _check_save_steps(settings, boundary)
    return BatchPlan(group_size, rollout, micro * processes * accumulation, boundary)


def several_updates(
    updates: int, settings: Mapping[str, Any], given: Collection[str], group_size: int, rows: int, processes: int = 1
) -> dict[str, int]:
    """TRL's `steps_per_generation` for several optimizer steps on each rollout; the number of completions a step stays.

    Args:
        updates: wanted; fewer are made where the data has too few prompts for a rollout, the run too few steps, or checkpoints
            would fall inside a rollout.
        settings: TRL fields as they will be passed.
        given: settings of recipe and command line; where one of them says how many updates there are, nothing is set.
        group_size: completions a prompt.
        rows: prompts of the data.
        processes: training processes.
    """
    if ROLLOUT_UPDATES & {*given}:
        return {}
    read = partial(trl_fields.value, "GRPOConfig", settings)
    micro, accumulation, steps = (
        read(name) for name in ("per_device_train_batch_size", "gradient_accumulation_steps", "max_steps")
    )
    saves = read("save_steps") if read("save_strategy") == "steps" else 0
    for count in range(updates, 1, -1):
        fits = micro * accumulation * processes * count <= rows * group_size
        if fits and not saves % count and (steps < 1 or count <= steps):
            return {"steps_per_generation": accumulation * count}
    return {}


def _count(settings: Mapping[str, Any], name: str) -> int:
    value = trl_fields.value("GRPOConfig", settings, name)
    if value < 1:
        raise ConfigError(f"{name} is at least 1", given=f"{name}={value}")
    return value


def _rollout_steps(settings: Mapping[str, Any], group_size: int, processes: int) -> int:
    """Micro-steps fed by one rollout (TRL's steps_per_generation)."""
    steps, size = settings.get("steps_per_generation"), settings.get("generation_batch_size")
    if steps is not None and size is not None:
        raise ConfigError(
            "steps_per_generation and generation_batch_size say the same thing twice", hint="set one of them"
        )
    micro = _count(settings, "per_device_train_batch_size")
    if size is not None:
        unit = math.lcm(micro, group_size) * processes
        if size < 1 or size % unit:
            sizes = sorted({max(size // unit, 1) * unit, (max(size, 0) // unit + 1) * unit})
            raise ConfigError(
                "generation_batch_size must be a multiple of the batch and of the group size, in every process",
                given=f"generation_batch_size={size}, per_device_train_batch_size={micro}, group_size={group_size}, "
                f"processes={processes}",
                hint=" or ".join(f"generation_batch_size={size}" for size in sizes),
            )
        return size // (micro * processes)
    return _count(settings, "gradient_accumulation_steps" if steps is None else "steps_per_generation")


def _steps_per_rollout(uses: int, accumulation: int) -> int:
    """Optimizer steps after which a rollout of `uses` micro-steps is used up, in whatever epoch."""
    if uses % accumulation and accumulation % uses:
        near = sorted({*_divisors(uses), 2 * uses}, key=lambda n: abs(n - accumulation))
        raise ConfigError(
            "optimizer steps and rollouts do not end together, and a resume would not be exact",
            given=f"gradient_accumulation_steps={accumulation}, one rollout feeds {uses} micro-steps",
            hint=" or ".join(f"gradient_accumulation_steps={n}" for n in sorted(near[:2])),
        )
    return max(uses // accumulation, 1)


def _check_save_steps(settings: Mapping[str, Any], boundary: int) -> None:
    save_steps = trl_fields.value("GRPOConfig", settings, "save_steps")
    if boundary == 1 or trl_fields.value("GRPOConfig", settings, "save_strategy") != "steps":
        return
    if save_steps < 1 or save_steps % boundary:
        below = max(int(save_steps) // boundary, 1) * boundary
        raise ConfigError(
            "checkpoints would fall inside a rollout, and a resume from there is not exact",
            given=f"save_steps={save_steps}, one rollout lasts {boundary} optimizer steps",
            hint=f"save_steps={below} or save_steps={below + boundary}",
        )


def _divisors(number: int) -> set[int]:
    """The divisors of a number, for a hint; of one above 10^8 those that are below 10^4, and what these leave."""
    small = [n for n in range(1, min(math.isqrt(number), 10_000) + 1) if number % n == 0]
    return {*small, *(number // n for n in small)}


def _working_sizes(micro: int, rollout_steps: int, group_size: int, local: int) -> str:
    unit = group_size // math.gcd(group_size, rollout_steps)
    below, above = micro // unit * unit, (micro // unit + 1) * unit
    sizes = " or ".join(str(size) for size in (below, above) if size)
    nearest = sorted(_divisors(local) - {1}, key=lambda size: abs(size - group_size))[:2]
    groups = f", or group_size={' or '.join(map(str, sorted(nearest)))}" if nearest else ""
    return f"per_device_train_batch_size={sizes}{groups}"
