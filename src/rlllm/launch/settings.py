"""The setting `launch`: how many processes train together, what starts them, and how they share the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError, unknown

Engine = Literal["ddp", "fsdp", "deepspeed-zero2", "deepspeed-zero3"]
ENGINES: tuple[str, ...] = get_args(Engine)
"""How processes share a model. With `ddp` each has all of it; the others shard optimizer states, gradients and weights."""
CLUSTERS = ("slurm", "ray")
"""Launchers that bring machines of their own."""
LAUNCHERS = ("local", *ENGINES, *CLUSTERS)
_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}")
"""What `sbatch --time` takes: minutes, minutes:seconds, hours:minutes:seconds, and days-hours with the same behind."""


def _launcher(value: Any) -> Any:
    if value not in LAUNCHERS:
        raise unknown("launcher", str(value), LAUNCHERS)
    return value


def _engine(value: Any) -> Any:
    if value not in ENGINES:
        raise unknown("engine of launch", str(value), ENGINES)
    return value


def _lines(value: Any) -> Any:
    """One line of shell as a list of one."""
    return [value] if isinstance(value, str) else value


def _time(value: Any) -> Any:
    text = str(value)
    if not _TIME.fullmatch(text):
        raise ConfigError(
            "launch.time is no time limit", given=text, hint="launch.time=24:00:00, or 2-00:00:00 for two days"
        )
    return text


class LaunchConfig(Section):
    """Processes that train together: a launcher's name, or a mapping with `name`. A process that a launcher started (`RANK`
    and `WORLD_SIZE` are in its environment) does not read it. What a step computes depends on the processes by their number
    alone, which changes the batch."""

    name: Annotated[str, BeforeValidator(_launcher)] = "local"
    """`local` is this process alone. `ddp`, `fsdp`, `deepspeed-zero2` and `deepspeed-zero3` start processes on this machine;
    `slurm` and `ray` do so on their machines, with one of these four as `engine`."""
    engine: Annotated[Engine, BeforeValidator(_engine)] | None = None
    """How the processes of `slurm` and `ray` share the model: `ddp` (default), `fsdp`, `deepspeed-zero2`, `deepspeed-zero3`."""
    processes: int | None = Field(None, ge=1)
    """Processes on each machine. Default: one for each of its GPUs, or 2 on a CPU; `slurm` and `ray` have no default."""
    nodes: int = Field(1, ge=1)
    """Machines, for `slurm` and `ray`."""
    gpus_per_node: int | None = Field(None, ge=0)
    """GPUs of each machine of `slurm` and `ray`, one a process; 0 trains on CPUs. Default: `processes`."""
    cpus_per_process: int | None = Field(None, ge=1)
    """CPU cores of each process, for `slurm` and `ray`. Default: 1; on GPUs `slurm` gives what the cluster does."""
    offload: bool = False
    """Keep optimizer states in CPU memory, with ZeRO-3 and FSDP the weights as well; slower, and fits more."""
    checkpoints: Literal["full", "sharded"] = "full"
    """How `fsdp` keeps checkpoints: gathered in rank 0, resumable with any number of processes, or a part by each process, for
    models that one machine's memory does not hold. The model at the end is whole in both cases."""
    partition: str | None = None
    """Slurm: partition."""
    account: str | None = None
    """Slurm: account."""
    qos: str | None = None
    """Slurm: quality of service."""
    constraint: str | None = None
    """Slurm: features that the machines must have."""
    time: Annotated[str, BeforeValidator(_time)] | None = None
    """Slurm: time limit, such as 24:00:00. A checkpoint is saved two minutes before its end, of a short one at its half."""
    memory: str | None = None
    """Slurm: memory of each machine, such as 500G; 0 is all of it."""
    setup: Annotated[list[str], BeforeValidator(_lines)] = Field(default_factory=list)
    """Slurm: lines of shell before the start, such as `module load cuda`."""
    address: str | None = None
    """Ray: address of a cluster; `auto` finds the one of this machine. Default: RAY_ADDRESS, else the
    cluster that runs on this machine, else one that is started for the run."""
    wait: bool = True
    """Slurm: end when the job ends, with its exit code; false returns as soon as it is queued."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "mixed_precision" in value:
            raise ConfigError(
                "the number format is a setting of the trainer, from which the launch files have it",
                given=f"launch.mixed_precision={value['mixed_precision']}",
                hint="bf16=true or fp16=true",
            )
        return value

    @model_validator(mode="after")
    def _fits(self) -> LaunchConfig:
        """Refuse what the launcher would not read."""
        fields = type(self).model_fields
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in self.model_fields_set}
        given = {name for name, default in defaults.items() if getattr(self, name) != default}
        slurm = {"partition", "account", "qos", "constraint", "time", "memory", "setup", "wait"} & given
        cluster = {"engine", "gpus_per_node", "cpus_per_process", "nodes"} & given
        unread = [
            *(sorted(slurm) if self.name != "slurm" else ()),
            *(sorted(cluster) if self.name not in CLUSTERS else ()),
            *(["address"] if "address" in given and self.name != "ray" else ()),
            *(["processes"] if self.name == "local" and "processes" in given else ()),
            *(["checkpoints"] if "checkpoints" in given and self.how != "fsdp" else ()),
            *(["offload"] if "offload" in given and (self.name == "local" or self.how == "ddp") else ()),
        ]
        if unread:
            raise ConfigError(
                f"launch={self.name} does not read launch.{unread[0]}",
                given=f"launch.{unread[0]}={getattr(self, unread[0])}",
                hint=_reader(unread[0]),
            )
        return self

    @property
    def how(self) -> str:
        """How the processes share the model; one of `ENGINES`. `ddp` for one process as well."""
        return self.engine or (self.name if self.name in ENGINES else "ddp")

    @property
    def shards(self) -> bool:
        """Whether no process holds all weights of the model while it trains."""
        return self.how in ("fsdp", "deepspeed-zero3") and self.name != "local"


def _reader(key: str) -> str:
    if key == "nodes":
        return "several machines are reached with launch.name=slurm or launch.name=ray, and launch.engine names how they share"
    if key in ("engine", "gpus_per_node", "cpus_per_process"):
        return f"launch.name=slurm or launch.name=ray with launch.{key}, or leave it out"
    if key == "address":
        return "launch.name=ray, or leave it out"
    if key == "checkpoints":
        return "launch.name=fsdp, or leave it out"
    if key in ("processes", "offload"):
        return "launch.name=fsdp, or another engine that shards; or leave it out"
    return "launch.name=slurm, or leave it out"
