"""Prepare this process for a run: choose the device, set the threads, silence telemetry and logging, record the environment."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlllm.core.code_hash import package_hash
from rlllm.core.hardware import Hardware
from rlllm.launch.onednn import onednn_pays

PACKAGES = ("rlllm", "torch", "transformers", "trl", "accelerate", "datasets", "peft", "numpy", "math-verify")


def prepare(earlier: Mapping[str, Any] | None = None) -> Hardware:
    """Set this process up for a run.

    Args:
        earlier: the `environment` of an earlier start, whose measured choices stand: others would change the last bits of
            every sum. None leaves the CPU threads to torch (which honours OMP_NUM_THREADS).
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # a rollout meets hundreds of shapes, and by default oneDNN keeps compiled code for the last 1024: 200 MB on nano
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    import datasets
    import torch
    import transformers

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    if earlier:
        torch.set_num_threads(earlier["threads"])
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "mps" if torch.backends.mps.is_available() else "cpu"
    return Hardware(
        device,
        bf16=cuda and torch.cuda.is_bf16_supported(),
        threads=torch.get_num_threads(),
        thread_seconds={
            int(threads): seconds for threads, seconds in (earlier or {}).get("thread_seconds", {}).items()
        },
        onednn=earlier.get("onednn", False) if earlier else device == "cpu" and onednn_pays(),
    )


def environment(hardware: Hardware) -> dict[str, Any]:
    """Versions, machine and device, for `env.json`."""
    import torch

    return {
        "packages": versions(),
        "code": package_hash(),
        "python": platform.python_version(),
        "processor": processor(),
        "platform": platform.platform(),
        "device": hardware.device,
        "gpu": torch.cuda.get_device_name() if hardware.device == "cuda" else None,
        "bf16": hardware.bf16,
        "threads": hardware.threads,
        "thread_seconds": {str(threads): seconds for threads, seconds in hardware.thread_seconds.items()},
        "onednn": hardware.onednn,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def versions() -> dict[str, str | None]:
    """Package -> its installed version, for the packages that decide what a run computes."""
    return {name: _version(name) for name in PACKAGES}


def processor() -> str:
    """Name of the CPU: another one may round sums otherwise."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
