"""Choose the CPU threads and the matrix product of a run, once for a processor, a torch version and a shape of model.

Both change the last bits of every sum, so runs are equal to the bit only where they are the same. A measured choice is kept in
the user's cache, and every later run takes it from there, however busy the machine is then.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from rlllm.core.config import HardwareConfig
from rlllm.core.errors import ConfigError
from rlllm.core.hardware import Hardware
from rlllm.core.records import fingerprint
from rlllm.core.runs import Run
from rlllm.core.user_cache import cache_root
from rlllm.launch.measurement import (
    candidates,
    faster_matmul,
    fewest_threads,
    measure_matmuls,
    measure_threads,
    onednn_works,
)

_MADE: dict[str, dict[str, Any]] = {}
"""What this process measured or read, by its key: it holds even where the cache can be neither read nor written."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a model decides how fast it is."""

    type: str
    width: int
    layers: int
    inner: int
    vocabulary: int

    @classmethod
    def of(cls, model: Any) -> ModelShape:
        """The shape by the model's configuration; sizes that it does not name are 0, and usual ones are timed for them."""
        config: Any = getattr(model, "config", None)
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        sizes = (
            int(getattr(text, name, None) or 0)
            for name in ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
        )
        return cls(str(getattr(text, "model_type", type(model).__name__)), *sizes)

    def describe(self) -> str:
        return f"{self.type} {self.width} x {self.layers}, inner {self.inner}, vocabulary {self.vocabulary}"


def choose(
    model: Any, hardware: Hardware, wanted: HardwareConfig, earlier: Mapping[str, Any] | None = None
) -> Hardware:
    """Set torch's threads and the matrix product for a model, and say what was chosen and by what.

    Args:
        model: as it is loaded.
        hardware: of `local.prepare`.
        wanted: the settings; they win over OMP_NUM_THREADS, which wins over a measurement.
        earlier: what stands: of the start that is resumed (`recorded`), or of the run that is repeated (`usable`).

    Raises:
        ConfigError: a choice that this machine does not have, or that is not the one of the run to resume.
    """
    if earlier is not None:
        wanted = _as_before(wanted, earlier)
    chosen = _with_matmul(model, _with_threads(model, hardware, wanted), wanted)
    if earlier is not None:
        chosen = replace(
            chosen,
            threads_from=earlier.get("threads_from", "measured"),
            matmul_from=earlier.get("matmul_from", "measured"),
            thread_seconds={int(key): seconds for key, seconds in earlier.get("thread_seconds", {}).items()},
            matmul_seconds=earlier.get("matmul_seconds", {}),
        )
    _apply(chosen)
    return chosen


def recorded(run: Run) -> Mapping[str, Any] | None:
    """What an earlier start of a run chose; None where it did not come so far. Before 2026-11-28 only `env.json` said it."""
    chosen, environment = run.config.get("hardware"), run.path / "env.json"
    if chosen is None and environment.exists():
        earlier: Mapping[str, Any] = run.read("env.json")
        return None if "threads_from" in earlier else earlier
    return chosen


def _apply(hardware: Hardware) -> None:
    import torch

    from rlllm.rollouts.engines.native import linear

    torch.set_num_threads(hardware.threads)
    linear.use(hardware.matmul)


def _as_before(wanted: HardwareConfig, recorded: Mapping[str, Any]) -> HardwareConfig:
    """The recorded choices as settings."""
    earlier = HardwareConfig(threads=recorded["threads"], matmul=_matmul_of(recorded))
    for name in HardwareConfig.model_fields:
        given, before = getattr(wanted, name), getattr(earlier, name)
        if given not in ("auto", before):
            raise ConfigError(
                f"the run to resume computes with hardware.{name}={before}",
                given=f"hardware.{name}={given}",
                hint=f"leave out hardware.{name}, or start afresh with --overwrite",
            )
    return earlier


def _with_threads(model: Any, hardware: Hardware, wanted: HardwareConfig) -> Hardware:
    """The number given, else OMP_NUM_THREADS, else the measured one; torch's own on a GPU or one core."""
    most = hardware.threads
    if wanted.threads != "auto":
        return replace(hardware, threads=wanted.threads, threads_from="setting")
    if "OMP_NUM_THREADS" in os.environ:
        return replace(hardware, threads_from="OMP_NUM_THREADS")
    if hardware.device != "cpu" or len(candidates(most)) < 2:
        return hardware
    entry = _remembered(_key(model, f"threads up to {most}"), lambda: _threads_entry(model, most))
    if not entry["seconds"]:
        return hardware
    seconds = {int(threads): value for threads, value in entry["seconds"].items()}
    return replace(hardware, threads=entry["choice"], threads_from="measured", thread_seconds=seconds)


def _threads_entry(model: Any, most: int) -> dict[str, Any]:
    seconds = measure_threads(model, most)
    return {"choice": fewest_threads(seconds) if seconds else most, "seconds": _texts(seconds)}


def _with_matmul(model: Any, hardware: Hardware, wanted: HardwareConfig) -> Hardware:
    """The library given, else the measured one; torch on a GPU."""
    if wanted.matmul == "onednn" and hardware.device != "cpu":
        raise ConfigError(
            "oneDNN multiplies matrices on a CPU only",
            given=f"hardware.matmul=onednn on {hardware.device}",
            hint="hardware.matmul=auto",
        )
    if wanted.matmul == "onednn" and not onednn_works():
        raise ConfigError(
            "this torch has no oneDNN product that computes what its own does",
            given="hardware.matmul=onednn",
            hint="hardware.matmul=auto",
        )
    if wanted.matmul != "auto":
        return replace(hardware, matmul=wanted.matmul, matmul_from="setting")
    if hardware.device != "cpu":
        return hardware
    threads = hardware.threads
    entry = _remembered(_key(model, f"matmul with threads={threads}"), lambda: _matmul_entry(model, threads))
    return replace(hardware, matmul=entry["choice"], matmul_from="measured", matmul_seconds=entry["seconds"])


def _matmul_entry(model: Any, threads: int) -> dict[str, Any]:
    import torch

    shape = ModelShape.of(model)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seconds = measure_matmuls(shape.width or 256, shape.inner or 4 * (shape.width or 256))
    finally:
        torch.set_num_threads(before)
    return {"choice": faster_matmul(seconds), "seconds": _texts(seconds)}


def _texts(seconds: Mapping[Any, float]) -> dict[str, float]:
    return {str(choice): round(value, 7) for choice, value in seconds.items()}


def _key(model: Any, subject: str) -> str:
    """Everything that a choice depends on, in words."""
    import torch

    return "; ".join(
        [processor(), f"{_cores()} cores", f"torch {torch.__version__}", ModelShape.of(model).describe(), subject]
    )


def usable(environment: Mapping[str, Any] | None, hardware: Hardware) -> Mapping[str, Any] | None:
    """The choices of another run where this machine has them, else None."""
    if environment is None or environment["device"] != hardware.device:
        return None
    return environment if _matmul_of(environment) == "torch" or onednn_works() else None


def _matmul_of(recorded: Mapping[str, Any]) -> str:
    """The recorded matrix product; before it was recorded as `matmul`, there was `onednn`, true or false."""
    return recorded.get("matmul") or ("onednn" if recorded.get("onednn") else "torch")


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def processor() -> str:
    """Name of the CPU: another one may round sums otherwise.

    Linux says name and model; the name alone can be that of several, such as "Intel(R) Xeon(R) Processor".
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" in said:
        return f"{said['model name']} (model {said.get('model', 'unknown')})"
    return platform.processor() or platform.machine()


def choices_folder() -> Path:
    """Where choices are kept, one file each."""
    return cache_root() / "hardware"


def known_choices() -> list[dict[str, Any]]:
    """Every choice in the cache that can be read."""
    entries = (_read(path) for path in sorted(choices_folder().glob("*.json")))
    return [entry for entry in entries if entry is not None]


def renew(model: Any, hardware: Hardware) -> Hardware:
    """Measure again for a model, and replace what the cache has; see `choose`."""
    _MADE.clear()
    for path in choices_folder().glob("*.json"):
        entry = _read(path)
        if entry is None or f"; {ModelShape.of(model).describe()}; " in entry["key"]:
            with suppress(OSError):
                path.unlink()
    return choose(model, hardware, HardwareConfig())


def _remembered(key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A choice: of this process, of the cache, or measured now. The first process to write it decides for all."""
    path = choices_folder() / f"{fingerprint(key)}.json"
    if key not in _MADE:
        _MADE[key] = _read(path) or _kept(path, {"key": key, **measure()})
    return _MADE[key]


def _read(path: Path) -> dict[str, Any] | None:
    """A choice as it was kept; None where there is none, or it cannot be read."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) and {"key", "choice", "seconds"} <= entry.keys() else None


def _kept(path: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry, written whole under its name; or that of another process which was first. A cache that refuses is none."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
        if path.exists() and _read(path) is None:
            path.unlink()
        os.link(partial, path)
    except FileExistsError:
        return _read(path) or entry
    except OSError:
        with suppress(OSError):  # a file system without hard links
            os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()
    return entry
