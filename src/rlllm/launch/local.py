"""Prepare this process for a run: choose the device, set the threads, silence telemetry and logging, record the environment."""

from __future__ import annotations

import os
import platform
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rlllm.core.code_hash import package_hash
from rlllm.core.hardware import Hardware
from rlllm.core.processes import world_size
from rlllm.core.runs import Run
from rlllm.launch.choice import processor

PACKAGES = ("rlllm", "torch", "transformers", "trl", "accelerate", "datasets", "peft", "numpy", "math-verify")


def prepare() -> Hardware:
    """Set this process up for a run, with torch's own number of CPU threads (which honours OMP_NUM_THREADS), and with oneDNN
    where the engine `native` can use it. `choice.choose` changes both for a model."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # a rollout meets hundreds of shapes, and by default oneDNN keeps compiled code for the last 1024: 200 MB on nano
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    import datasets
    import torch
    import transformers

    from rlllm.rollouts.engines.native import linear

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    torch.set_num_threads(_default_threads())
    linear.use("onednn")
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "mps" if torch.backends.mps.is_available() else "cpu"
    return Hardware(device, bf16=cuda and torch.cuda.is_bf16_supported(), threads=torch.get_num_threads())


@cache
def _default_threads() -> int:
    """The number that torch has before the first run of this process sets another."""
    import torch

    return torch.get_num_threads()


def record(run: Run, hardware: Hardware) -> None:
    """Write what a run computes on into its `env.json` and `config.json`."""
    run.write("env.json", environment(hardware))
    run.add_to_config(hardware={"processor": processor(), **hardware.to_json()})


def environment(hardware: Hardware) -> dict[str, Any]:
    """Versions, machine and device, for `env.json`."""
    import torch

    return {
        "packages": versions(),
        "code": package_hash(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "gpu": torch.cuda.get_device_name() if hardware.device == "cuda" else None,
        **hardware.to_json(),
        "processes": world_size(),
    }


def versions() -> dict[str, str | None]:
    """Package -> its installed version, for the packages that decide what a run computes."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
