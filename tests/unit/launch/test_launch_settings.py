"""The setting `launch`: names, what each launcher reads, and numbers of processes."""

from __future__ import annotations

import pytest

from rlllm.core import yaml_io
from rlllm.core.errors import ConfigError
from rlllm.launch.settings import LAUNCHERS, LaunchConfig
from rlllm.launch.topology import processes_of, topology


@pytest.fixture(autouse=True)
def without_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_is_named_by_its_name_alone(name: str) -> None:
    assert LaunchConfig.checked(name).name == name
    assert LaunchConfig.checked({"name": name}) == LaunchConfig.checked(name)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ("dpp", "did you mean ddp?"),
        ({"name": "slurm", "engine": "fsdp2"}, "did you mean fsdp?"),
        ({"name": "slurm", "time": "soon"}, "launch.time=24:00:00"),
        ({"name": "ddp", "mixed_precision": "bf16"}, "bf16=true"),
        ({"name": "ddp", "nodes": 2}, "launch.name=slurm"),
        ({"name": "ddp", "partition": "gpu"}, "does not read launch.partition"),
        ({"name": "fsdp", "engine": "ddp"}, "does not read launch.engine"),
        ({"name": "ddp", "offload": True}, "does not read launch.offload"),
        ({"name": "deepspeed-zero3", "checkpoints": "sharded"}, "does not read launch.checkpoints"),
        ({"name": "slurm", "address": "auto"}, "launch.name=ray"),
        ({"name": "local", "processes": 2}, "does not read launch.processes"),
    ],
)
def test_what_a_launcher_would_not_read_is_refused_with_a_hint(values: object, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        LaunchConfig.checked(values)
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("values", "size", "gpus"),
    [
        ({"name": "slurm", "processes": 8, "nodes": 4}, 32, 8),
        ({"name": "slurm", "gpus_per_node": 8}, 8, 8),
        ({"name": "ray", "processes": 2, "gpus_per_node": 0}, 2, 0),
    ],
)
def test_machines_of_a_cluster_have_one_gpu_for_each_process(values: object, size: int, gpus: int) -> None:
    place = topology(LaunchConfig.checked(values))
    assert (place.world_size, place.gpus) == (size, gpus)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"name": "slurm"}, "launch.processes=8"),
        ({"name": "ray", "processes": 8, "gpus_per_node": 4}, "launch.processes=4"),
    ],
)
def test_a_cluster_without_enough_gpus_is_refused(values: object, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        topology(LaunchConfig.checked(values))
    assert what in str(error.value)


def test_more_processes_than_gpus_are_refused_and_a_cpu_takes_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = LaunchConfig.checked({"name": "ddp", "processes": 3})
    monkeypatch.setattr("rlllm.launch.topology.visible_gpus", lambda: 0)
    assert (topology(launch).processes, topology(launch).gpus) == (3, 0)
    monkeypatch.setattr("rlllm.launch.topology.visible_gpus", lambda: 2)
    with pytest.raises(ConfigError, match="2 GPUs for 3 processes"):
        topology(launch)
    assert topology(LaunchConfig.checked("fsdp")).processes == 2


def test_a_launched_process_counts_as_its_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = LaunchConfig.checked({"name": "slurm", "processes": 8, "nodes": 2})
    assert processes_of(launch) == 16
    assert processes_of(LaunchConfig()) == 1
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes_of(launch) == 4


@pytest.mark.parametrize("text", ["24:00:00", "2-00:00:00", "90"])
def test_a_time_limit_in_yaml_stays_as_it_was_written(text: str) -> None:
    """YAML 1.1 reads 24:00:00 as the number 86400."""
    values = yaml_io.parse(f"name: slurm\ntime: {text}\n", source="test")
    assert LaunchConfig.checked(values).time == text
