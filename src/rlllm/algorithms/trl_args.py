"""TRL config objects: rlllm's few defaults under the user's settings; every other default is TRL's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlllm.algorithms import _trl
from rlllm.algorithms.preference.settings import LOSS_SETTINGS, dpo_settings
from rlllm.algorithms.trackers import run_name
from rlllm.core.errors import ConfigError
from rlllm.core.hardware import Hardware
from rlllm.core.redaction import without_secrets
from rlllm.core.registry import load_target


def trl_arguments(
    config: str,
    settings: Mapping[str, Any],
    *,
    checkpoints: Path,
    seed: int,
    hardware: Hardware,
    trusted: bool = False,
) -> Any:
    """The TRL dataclass `config`, or that of "module:Class"; DPOConfig without their own settings for the losses of
    `algorithms/preference`.

    bf16 is always set: TRL's own default raises on a CPU, and `use_cpu` alone silently turns on emulated bf16.

    Args:
        config: name of the dataclass.
        settings: TRL's, as they were given.
        checkpoints: folder of the run's checkpoints.
        seed: of the run.
        hardware: what the run computes on.
        trusted: whether the model's own code may run where TRL loads the model again, as the reference of a KL penalty.

    Raises:
        ConfigError: TRL refuses the combination.
    """
    loss = LOSS_SETTINGS.get(config)
    if loss is not None:
        config, settings = "DPOConfig", dpo_settings(loss, settings)
    on_cpu = hardware.device == "cpu"
    if on_cpu and settings.get("activation_offloading"):
        raise ConfigError(
            "activations are moved from an accelerator to the CPU, and this run has no accelerator",
            given="activation_offloading=true",
            hint="leave it out; gradient_checkpointing=true saves memory here",
        )
    defaults = {
        "logging_steps": 1,
        "report_to": "none",
        "run_name": run_name(checkpoints.parent),
        "project": "rlllm",
        "disable_tqdm": True,
        "use_cpu": on_cpu,
        "bf16": hardware.bf16,
        "gradient_checkpointing": not on_cpu,
    }
    managed = {"output_dir": str(checkpoints), "seed": seed, **({"trust_remote_code": True} if trusted else {})}
    make = load_target(config) if ":" in config else getattr(_trl, config)
    try:
        return make(**{**defaults, **settings, **managed})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"TRL refuses these settings: {error}", given=without_secrets(settings)) from error
