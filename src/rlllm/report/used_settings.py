"""What a run used, as groups of flat names and values, and what differs between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.core.runs import Run
from rlllm.report.provenance import flattened

Used = dict[str, dict[str, str]]
"""Group (`settings`, `TRL`, `hardware`, `versions`, `data and model`) -> name -> value as text."""

_PLACES = {"output_dir", "logging_dir", "run_name", "hub_model_id"}
"""Settings that say where a run is written: other in any two runs, and without effect on its result."""
_HARDWARE = ("device", "gpu", "bf16", "processor", "threads", "matmul", "processes")
_VERSIONS = ("code", "python", "platform")


def used_settings(run: Run) -> Used:
    """Everything that decides what a run computes. A group is empty where the run has no file for it."""
    config, environment, lineage = (run.read_or_empty(f"{name}.json") for name in ("config", "env", "lineage"))
    hardware = {**environment, **(config.get("hardware") or {})}
    sources = {
        "data": _hash_of(lineage.get("data"), "hash"),
        "model": _hash_of(lineage.get("model"), "weights"),
        "rewards": _hash_of(lineage.get("rewards"), "hash"),
        "template": lineage.get("template"),
    }
    return {
        "settings": _flat({"verb": config["stage"], **config["settings"], "hardware": {}})
        if "settings" in config
        else {},
        "TRL": _flat(config.get("trl") or {}),
        "hardware": _flat({name: hardware[name] for name in _HARDWARE if name in hardware}),
        "versions": _flat(
            {
                **(environment.get("packages") or {}),
                **{name: environment[name] for name in _VERSIONS if name in environment},
            }
        ),
        "data and model": _flat({name: value for name, value in sources.items() if value is not None}),
    }


def differing(runs: Sequence[Used]) -> dict[str, dict[str, list[str | None]]]:
    """Group -> name -> the value in each run, None where a run has none; only what differs, and only groups that have some.

    A group that one of the runs did not record is left out: nothing is known about it.
    """
    found: dict[str, dict[str, list[str | None]]] = {}
    for group in runs[0]:
        values = [used[group] for used in runs]
        if not all(values):
            continue
        names = dict.fromkeys(name for used in values for name in used)
        columns = {name: [used.get(name) for used in values] for name in names}
        different = {name: column for name, column in columns.items() if len(set(column)) > 1}
        if different:
            found[group] = different
    return found


def not_recorded(runs: Sequence[Used]) -> list[str]:
    """Groups that at least one of the runs has not recorded, but another has."""
    return [group for group in runs[0] if any(used[group] for used in runs) and not all(used[group] for used in runs)]


def _hash_of(entry: Any, name: str) -> Any:
    """The hash in an entry of a lineage, or the entry itself."""
    return entry.get(name) if isinstance(entry, Mapping) else entry


def _flat(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in flattened(values) if name not in _PLACES}
