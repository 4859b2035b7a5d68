"""Which engine `auto` is, and what each engine lacks on this machine. Imports nothing heavy."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from rlllm.rollouts.config import EngineSettings

AUTO = "auto"
OUTSIDE = ("vllm", "vllm-server", "openai")
"""Engines that sample elsewhere than in the model that trains, and read where."""

ASKING = ("vllm-server", "openai")
"""Those of them that ask servers."""
FIXED = ("openai",)
"""Those of them whose model stays as it is."""
START = "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode processed_logprobs --port 8000"
"""What to type where there is no server of `vllm-server`."""


def chosen_engine(name: str) -> tuple[str, str]:
    """The engine behind a name, and why where the name leaves it open: `vllm` if it can run here, else `native`."""
    if name != AUTO:
        return name, ""
    lacks = missing("vllm")
    return ("vllm", "vLLM and a GPU are here") if lacks is None else ("native", f"vllm cannot run here: {lacks}")


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
    return None if shutil.which("nvidia-smi") else "no GPU was found, without which native is the faster one"
