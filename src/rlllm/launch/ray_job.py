"""Ray: one actor on each machine starts its processes. `python -m rlllm.launch.ray_job RUN/launch/ray.yaml` is the job.

It runs as it is, or by `ray job submit -- python -m rlllm.launch.ray_job ...` on the cluster. Ray gives the machines, and tells
the actors of a signal; the processes talk to each other by gloo or NCCL, as under any other launcher.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from rlllm.core import yaml_io
from rlllm.launch.settings import LaunchConfig
from rlllm.launch.topology import Topology

FILE = "ray.yaml"


def ray_files(launch: LaunchConfig, place: Topology, start: list[str], directory: Path) -> dict[str, str]:
    """Name -> text of the job.

    Args:
        launch: the setting.
        place: machines and processes.
        start: the command that starts the processes of one machine; its words `MACHINE`, `ADDRESS` and `PORT` stand for what
            only the cluster knows.
        directory: where to run.
    """
    bundle = {"CPU": place.processes * (launch.cpus_per_process or 1), **({"GPU": place.gpus} if place.gpus else {})}
    job = {
        "address": launch.address,
        "placement": {
            "strategy": "STRICT_SPREAD" if place.nodes > 1 else "STRICT_PACK",
            "bundles": [dict(bundle) for _ in range(place.nodes)],
        },
        "directory": str(directory),
        "command": start,
    }
    return {FILE: yaml_io.dump(job)}


def main(path: Path) -> int:
    """Run a job to its end; returns 0 where the processes of all machines ended well.

    Raises:
        ConfigError: the file is not valid YAML.
    """
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    job = yaml_io.read(path)
    ray.init(address=job["address"] or os.environ.get("RAY_ADDRESS"), log_to_driver=False, include_dashboard=False)
    bundles = job["placement"]["bundles"]
    group = placement_group(bundles, strategy=job["placement"]["strategy"])
    ray.get(group.ready())
    actor: Any = ray.remote(Machine)
    machines: list[Any] = [
        actor.options(
            num_cpus=bundle["CPU"],
            num_gpus=bundle.get("GPU", 0),
            max_concurrency=2,  # a signal arrives while the processes run
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number),
        ).remote(job["directory"])
        for number, bundle in enumerate(bundles)
    ]
    address, port = ray.get(machines[0].meeting_place.remote())

    def hand_on(number: int, frame: FrameType | None) -> None:
        for machine in machines:
            machine.send.remote(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    known = {"ADDRESS": address, "PORT": str(port)}
    waiting = [
        machine.run.remote([{**known, "MACHINE": str(number)}.get(word, word) for word in job["command"]])
        for number, machine in enumerate(machines)
    ]
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        if code := ray.get(done[0]):
            hand_on(signal.SIGTERM, None)
            if waiting:
                ray.wait(waiting, num_returns=len(waiting))
            return int(code)
    return 0


class Machine:
    """The processes of one machine, inside an actor.

    Args:
        directory: where to run.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def meeting_place(self) -> tuple[str, int]:
        """Address of this machine, and a port that is free on it."""
        import socket

        import ray

        with socket.socket() as found:
            found.bind(("", 0))
            return ray.util.get_node_ip_address(), int(found.getsockname()[1])

    def run(self, command: list[str]) -> int:
        """Start the processes and wait; returns their exit code."""
        self.process = subprocess.Popen(command, cwd=self.directory, start_new_session=True)
        return self.process.wait()

    def send(self, number: int) -> None:
        """Pass a signal on."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def job_arguments(folder: Path) -> list[str]:
    """The command of a job, to run it here."""
    return [sys.executable, "-m", "rlllm.launch.ray_job", str(folder / FILE)]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
