"""Which engine `auto` is, and what each engine lacks on this machine. Imports nothing heavy."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from rlllm.rollouts.config import EngineSettings

AUTO = "auto"
OUTSIDE = ("vllm", "vllm-server", "openai")
"""Engines that sample elsewhere than in the model that trains, and read where."""

ASKING = ("vllm-server", "openai")
"""Those of them that ask servers."""
FIXED = ("openai",)
"""Those of them whose model stays as it is."""
PROVEN_OF_TRL = ("tolerance", "trial")
"""What the proof of TRL's own use of vLLM reads of `rollout.serving`."""
START = "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode processed_logprobs --port 8000"
"""What to type where there is no server of `vllm-server`."""


def chosen_engine(name: str) -> tuple[str, str]:
    """The engine behind a name, and why where the name leaves it open: `vllm` on a GPU if it can run here, else `native`."""
    if name != AUTO:
        return name, ""
    lacks = missing("vllm")
    if lacks is not None:
        return "native", f"vllm cannot run here: {lacks}"
    return ("vllm", "vLLM and a GPU are here") if has_gpu() else ("native", "without a GPU it is faster than vllm")


def engine_text(settings: EngineSettings) -> str:
    """What a plan says of the engine: where it samples, and why it was taken; empty where it is the model itself, as given."""
    name, why = chosen_engine(settings.engine)
    told = f"{name}, on {', '.join(settings.servers)}" if settings.servers else name
    if why:
        return f"{told}, taken by auto: {why}"
    return told if name in OUTSIDE else ""


def missing(name: str) -> str | None:
    """What this machine lacks for an engine, with what to type; None if nothing."""
    if name != "vllm":
        return None
    if find_spec("vllm") is None:
        return "not installed (pip install vllm); vllm-server needs it on the server alone"
    return None if has_gpu() or _built_for_processors() else "no GPU was found, and this vLLM is built for GPUs"


def has_gpu() -> bool:
    """Whether a driver of GPUs is installed."""
    return shutil.which("nvidia-smi") is not None


def _built_for_processors() -> bool:
    """As vLLM decides it itself: by the version it was installed under."""
    try:
        return "cpu" in version("vllm")
    except PackageNotFoundError:
        return False
