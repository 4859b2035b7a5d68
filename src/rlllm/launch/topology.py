"""Where the processes of a run are: machines, processes on each, and the GPUs they have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rlllm.core.errors import ConfigError
from rlllm.core.processes import launched, world_size
from rlllm.launch.settings import CLUSTERS, LaunchConfig

_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of GPU drivers (NVIDIA, AMD, Windows' Linux); without one there is no need to ask torch."""
_ON_A_CPU = 2


@dataclass(frozen=True, slots=True)
class Topology:
    """Processes that train together.

    Args:
        nodes: machines.
        processes: on each machine.
        gpus: of each machine; 0 trains on CPUs.
    """

    nodes: int
    processes: int
    gpus: int

    @property
    def world_size(self) -> int:
        return self.nodes * self.processes

    def __str__(self) -> str:
        where = "this machine" if self.nodes == 1 else f"each of {self.nodes} machines"
        return f"{self.processes} processes on {where}, {'one GPU each' if self.gpus else 'on its CPU'}"


def topology(launch: LaunchConfig) -> Topology:
    """Machines and processes that a setting asks for.

    Raises:
        ConfigError: a cluster without a number of processes, or more processes than GPUs.
    """
    if launch.name in CLUSTERS:
        return _of_cluster(launch)
    gpus = visible_gpus()
    processes = launch.processes or gpus or _ON_A_CPU
    if gpus and processes > gpus:
        raise ConfigError(
            f"this machine has {gpus} GPU{'s' if gpus > 1 else ''} for {processes} processes",
            given=f"launch.processes={processes}",
            hint=f"launch.processes={gpus}, or CUDA_VISIBLE_DEVICES= to train on the CPU",
        )
    return Topology(1, processes, processes if gpus else 0)


def _of_cluster(launch: LaunchConfig) -> Topology:
    processes = launch.processes or launch.gpus_per_node
    if not processes:
        raise ConfigError(
            f"launch={launch.name} has to know how many processes a machine runs",
            hint="launch.processes=8 for machines with 8 GPUs; with launch.gpus_per_node=0 they train on their CPUs",
        )
    gpus = processes if launch.gpus_per_node is None else launch.gpus_per_node
    if gpus and processes > gpus:
        raise ConfigError(
            f"{processes} processes on each machine need as many GPUs",
            given=f"launch.gpus_per_node={gpus}",
            hint=f"launch.processes={gpus}",
        )
    return Topology(launch.nodes, processes, gpus)


def processes_of(launch: LaunchConfig) -> int:
    """How many processes train together: those of the launcher that started this one, else those that the setting asks for."""
    if launched():
        return world_size()
    return 1 if launch.name == "local" else topology(launch).world_size


@cache
def visible_gpus() -> int:
    """GPUs that torch may use on this machine."""
    if not any(Path(driver).exists() for driver in _DRIVERS):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
