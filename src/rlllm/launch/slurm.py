"""Slurm: the job file that `sbatch` takes, and the script by which each of its machines starts its processes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rlllm.launch.settings import LaunchConfig
from rlllm.launch.topology import Topology

JOB = "job.sbatch"
MACHINE = "machine.sh"
_NOTICE_SECONDS = 120
"""Seconds before the time limit at which processes are told to save a checkpoint; of a short limit the half of it."""


def slurm_files(
    launch: LaunchConfig, place: Topology, folder: Path, start: list[str], *, name: str, directory: Path
) -> dict[str, str]:
    """Name -> text of the job file and of the script of one machine.

    Args:
        launch: the setting.
        place: machines and processes.
        folder: where the files will be.
        start: the command that starts the processes of one machine; `$` names in it are expanded by the shell.
        name: of the job.
        directory: where to run.
    """
    return {JOB: "\n".join(_job(launch, place, folder, name, directory)) + "\n", MACHINE: _machine(start)}


def _job(launch: LaunchConfig, place: Topology, folder: Path, name: str, directory: Path) -> Iterator[str]:
    yield "#!/bin/bash"
    for option, value in _options(launch, place, folder, name):
        yield f"#SBATCH --{option}={value}"
    yield ""
    yield "set -euo pipefail"
    yield f"cd {shlex.quote(str(directory))}"
    yield from launch.setup
    yield "# processes on all machines meet at the first one"
    yield 'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    yield "MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))"
    yield "export MASTER_ADDR MASTER_PORT"
    if launch.cpus_per_process:
        yield f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{launch.cpus_per_process}}}"
    yield "# one task a machine; torchrun gives each process in it RANK, LOCAL_RANK and WORLD_SIZE"
    # since Slurm 22.05 srun does not take over the job's CPUs of a task
    cpus = f"--cpus-per-task={count} " if (count := _cpus(launch, place)) else ""
    yield (
        f"srun --nodes={place.nodes} --ntasks={place.nodes} --ntasks-per-node=1 {cpus}--kill-on-bad-exit=1 "
        f"bash {shlex.quote(str(folder / MACHINE))}"
    )


def _options(launch: LaunchConfig, place: Topology, folder: Path, name: str) -> Iterator[tuple[str, object]]:
    yield "job-name", name
    yield "nodes", place.nodes
    yield "ntasks-per-node", 1
    if place.gpus:
        yield "gpus-per-node", place.gpus
    if count := _cpus(launch, place):
        yield "cpus-per-task", count
    for option, value in (
        ("partition", launch.partition),
        ("account", launch.account),
        ("qos", launch.qos),
        ("constraint", launch.constraint),
        ("time", launch.time),
        ("mem", launch.memory),
    ):
        if value is not None:
            yield option, value
    yield "output", folder.parent / "logs" / "slurm-%j.log"
    yield "open-mode", "append"
    half = seconds_of(launch.time) // 2 if launch.time else 0  # as Slurm reads it, 0 is no limit
    yield "signal", f"INT@{min(_NOTICE_SECONDS, half or _NOTICE_SECONDS)}"


def _cpus(launch: LaunchConfig, place: Topology) -> int | None:
    """Of each machine; None leaves it to the cluster, which often gives so many for each GPU."""
    if launch.cpus_per_process is None and place.gpus:
        return None
    return (launch.cpus_per_process or 1) * place.processes


def seconds_of(limit: str) -> int:
    """Seconds of a time limit as `sbatch --time` reads it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    days, dash, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if not dash:
        parts = [0, *parts, 0] if len(parts) == 1 else [0, *parts] if len(parts) == 2 else parts
    hours, minutes, seconds = [*parts, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _machine(start: list[str]) -> str:
    words = " ".join(word if word.startswith('"$') else shlex.quote(word) for word in start)
    return f"#!/bin/bash\n# Starts the processes of one machine; srun runs it on each.\nexec {words}\n"
