"""What the setting `launch` is about to do: the files, and the command that starts the processes."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.launch.agent import arguments_of
from rlllm.launch.engine_files import engine_files
from rlllm.launch.ray_job import job_arguments, ray_files
from rlllm.launch.settings import CLUSTERS, LaunchConfig
from rlllm.launch.slurm import JOB, slurm_files
from rlllm.launch.topology import Topology, topology

FOLDER = "launch"
"""In a run's directory: the files of its launch."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """A launch, as `--dry-run` shows it and the run uses it.

    Args:
        launch: the setting.
        place: machines and processes.
        files: name -> text, of the folder `launch` in the run's directory.
        command: what starts it.
        warnings: what this machine lacks for it, where another machine may have it.
    """

    launch: LaunchConfig
    place: Topology
    files: dict[str, str]
    command: list[str]
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[tuple[str, str]]:
        """Label and value rows for a person."""
        how = f"{self.launch.name}: {self.place}"
        if self.launch.name in CLUSTERS:
            how += f", {self.launch.how}"
        rows = [("launch", how), ("", shlex.join(self.command))]
        for name, text in self.files.items():
            rows += [(f"{FOLDER}/{name}" if number == 0 else "", line) for number, line in enumerate(text.splitlines())]
        return [*rows, *(("warning", text) for text in self.warnings)]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.launch.name,
            "engine": self.launch.how,
            "nodes": self.place.nodes,
            "processes": self.place.processes,
            "gpus_per_node": self.place.gpus,
            "command": self.command,
            "files": self.files,
            "warnings": list(self.warnings),
        }


def plan_launch(
    launch: LaunchConfig, run: Path, words: Sequence[str], *, name: str, precision: str | None
) -> LaunchPlan:
    """The files and the command of a launch.

    Args:
        launch: the setting; not `local`.
        run: the run's directory.
        words: what follows `rlllm` in each process.
        name: of the job, where a cluster lists it.
        precision: `no`, `bf16` or `fp16`; None for the trainer's default, which is bf16 on GPUs.

    Raises:
        ConfigError: a package or program is missing, or there are more processes than GPUs.
    """
    place = topology(launch)
    missing = _missing(launch)
    if missing and launch.name not in CLUSTERS:
        raise missing[0]
    run = run.absolute()
    folder = run / FOLDER
    files = engine_files(launch, place, folder, precision=precision or ("bf16" if place.gpus else "no"))
    agent = [sys.executable, "-m", "rlllm.launch.agent"]
    if launch.name == "slurm":
        own = {
            "machine_rank": '"$SLURM_NODEID"',
            "main_process_ip": '"$MASTER_ADDR"',
            "main_process_port": '"$MASTER_PORT"',
        }
        start = [*agent, *arguments_of(folder, [*words], own)]
        files |= slurm_files(launch, place, folder, start, name=name, directory=Path.cwd())
        command = ["sbatch", "--parsable", *(["--wait"] if launch.wait else []), str(folder / JOB)]
    elif launch.name == "ray":
        own = {"machine_rank": "MACHINE", "main_process_ip": "ADDRESS", "main_process_port": "PORT"}
        files |= ray_files(launch, place, [*agent, *arguments_of(folder, [*words], own)], Path.cwd())
        command = job_arguments(folder)
    else:
        command = [*agent, *arguments_of(folder, [*words])]
    return LaunchPlan(launch, place, files, command, tuple(f"{error.what}: {error.hint}" for error in missing))


def refuse_missing(launch: LaunchConfig) -> None:
    """Raise ConfigError for a package or program that this machine lacks and the launch needs."""
    for error in _missing(launch):
        raise error


def _missing(launch: LaunchConfig) -> list[ConfigError]:
    """What this machine lacks for a launch. The machines of a cluster may have it."""
    errors = []
    if launch.name == "slurm" and shutil.which("sbatch") is None:
        errors.append(
            ConfigError(
                "sbatch is not on this machine",
                given="launch=slurm",
                hint="start it where Slurm's commands are, on a login node of the cluster",
            )
        )
    if launch.name == "ray" and importlib.util.find_spec("ray") is None:
        errors.append(_package("ray", "launch=ray"))
    if launch.how.startswith("deepspeed") and importlib.util.find_spec("deepspeed") is None:
        errors.append(_package("deepspeed", f"launch={launch.how}"))
    return errors


def _package(name: str, given: str) -> ConfigError:
    return ConfigError(f"the package {name} is not installed", given=given, hint=f"pip install 'rlllm[{name}]'")
