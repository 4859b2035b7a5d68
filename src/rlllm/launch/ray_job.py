"""Ray: one actor on each machine starts its processes. `python -m rlllm.launch.ray_job RUN/launch/ray.yaml` is the job.

It runs as it is, or by `ray job submit -- python -m rlllm.launch.ray_job ...` on the cluster. Ray gives the machines, and tells
the actors of a signal; the processes talk to each other by gloo or NCCL, as under any other launcher.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rlllm.core import yaml_io
from rlllm.core.errors import ConfigError
from rlllm.core.runs import write_json
from rlllm.launch.agent import PARENT, end_with_parent, log_of_machine
from rlllm.launch.settings import LaunchConfig
from rlllm.launch.topology import Topology

FILE = "ray.yaml"
REFUSED = "refused.json"
"""Beside the job's file, where Ray cannot run it: the parts of an error, for the process that waits."""
THREADS = "OMP_NUM_THREADS"
_JOIN_SECONDS = 10.0
"""How long machines of a cluster that has just begun may take to be known to it."""
_LOOK_SECONDS = 0.5


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
        "threads": launch.cpus_per_process,
        "command": start,
    }
    return {FILE: yaml_io.dump(job)}


def main(path: Path) -> int:
    """Run a job to its end; returns 0 where the processes of all machines ended well.

    Raises:
        ConfigError: the file is not valid YAML, no cluster answers, or its machines are too few or too small.
    """
    job = yaml_io.read(path)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    end_with_parent(os.environ.pop(PARENT, None))
    _connect(job["address"])
    bundles = job["placement"]["bundles"]
    _refuse_too_small(bundles)
    signals: deque[int] = deque()

    def keep(number: int, frame: FrameType | None) -> None:
        signals.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, keep)
    log = log_of_machine(path.parent.parent, 0)
    machines = _machines(job, signals, log)
    return _run(machines, job, signals) if machines else 128 + signals[0]


def _connect(address: str | None) -> None:
    """Join the cluster at an address, of RAY_ADDRESS or of this machine, else start one for this job."""
    import ray

    given = f"launch.address={address}" if address else f"RAY_ADDRESS={os.environ.get('RAY_ADDRESS')}"
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster answers: {str(error).splitlines()[0]}",
            given=given,
            hint="ray start --head on the first machine, RAY_AUTH_MODE=token where it was started with a token; without "
            "launch.address and RAY_ADDRESS a cluster is started here",
        ) from error


def _refuse_too_small(bundles: Sequence[Mapping[str, float]]) -> None:
    """Raise ConfigError where the machines of the cluster could never run a job, for which Ray would wait without a word."""
    import ray

    end = time.monotonic() + _JOIN_SECONDS
    while True:
        nodes = {node["NodeManagerAddress"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        if sum(_holds(resources, bundles[0]) for resources in nodes.values()) >= len(bundles):
            return
        if time.monotonic() >= end:
            raise too_small(bundles, nodes)
        time.sleep(_LOOK_SECONDS)


def _holds(resources: Mapping[str, float], bundle: Mapping[str, float]) -> bool:
    return all(resources.get(name, 0) >= amount for name, amount in bundle.items())


def too_small(bundles: Sequence[Mapping[str, float]], nodes: Mapping[str, Mapping[str, float]]) -> ConfigError:
    """The error for a cluster that has not what a job needs.

    Args:
        bundles: what each machine has to have, by Ray's names; all are the same.
        nodes: address of each machine of the cluster -> what it has.
    """
    names = tuple(bundles[0])
    machines = f"{len(bundles)} machines, each" if len(bundles) > 1 else "one machine"
    fitting = sum(_holds(resources, bundles[0]) for resources in nodes.values())
    return ConfigError(
        f"{fitting or 'none'} of the {len(nodes)} machines of the Ray cluster can take the processes of one machine",
        given=f"{machines} with {_amounts(bundles[0], names)}",
        exists=[f"{address} with {_amounts(resources, names)}" for address, resources in sorted(nodes.items())],
        hint="fewer launch.processes, launch.cpus_per_process or launch.nodes, or more machines: ray start --address=...",
    )


def _amounts(resources: Mapping[str, float], names: Sequence[str]) -> str:
    return " and ".join(f"{resources.get(name, 0):g} {name}" for name in names)


def _machines(job: Mapping[str, Any], signals: deque[int], log: Path) -> list[Any]:
    """An actor on each machine, once the cluster has room for all; none where a signal came before."""
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    bundles = job["placement"]["bundles"]
    group = placement_group(bundles, strategy=job["placement"]["strategy"])
    ready, said = group.ready(), time.monotonic() + _JOIN_SECONDS
    while not ray.wait([ready], timeout=_LOOK_SECONDS)[0]:
        if signals:
            return []
        if time.monotonic() >= said:
            said = float("inf")
            with log.open("a", encoding="utf-8") as file:
                file.write("waiting for other jobs of the Ray cluster to end; ray status shows them\n")
    actor: Any = ray.remote(Machine)
    return [
        actor.options(
            num_cpus=bundle["CPU"],
            num_gpus=bundle.get("GPU", 0),
            max_concurrency=2,  # a signal arrives while the processes run
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number),
        ).remote(job["directory"], os.environ.get(THREADS) or job["threads"])
        for number, bundle in enumerate(bundles)
    ]


def _run(machines: list[Any], job: Mapping[str, Any], signals: deque[int]) -> int:
    """Start the processes of all machines, hand signals on, and wait; the failure of one machine ends the others."""
    import ray

    address, port = ray.get(machines[0].meeting_place.remote())
    known = {"ADDRESS": address, "PORT": str(port)}
    waiting = {
        machine.run.remote([{**known, "MACHINE": str(number)}.get(word, word) for word in job["command"]]): number
        for number, machine in enumerate(machines)
    }
    failed = 0
    while waiting:
        done, _ = ray.wait(list(waiting), timeout=_LOOK_SECONDS)
        code = _code(done[0], waiting.pop(done[0])) if done else 0
        if code and not failed:
            failed = code
            signals.append(signal.SIGTERM)
        while signals:
            number = signals.popleft()
            for place in waiting.values():
                machines[place].send.remote(number)
    return failed


def _code(ended: Any, number: int) -> int:
    """The exit code of a machine's processes; 1 where the machine itself was lost."""
    import ray

    try:
        return int(ray.get(ended))
    except ray.exceptions.RayError as error:
        print(f"machine {number} of the Ray cluster was lost: {error}", file=sys.stderr, flush=True)
        return 1


class Machine:
    """The processes of one machine, inside an actor.

    Args:
        directory: where to run.
        threads: of each process; None lets the run choose them.
    """

    def __init__(self, directory: str, threads: str | int | None) -> None:
        self.directory = directory
        self.environment = {**os.environ, PARENT: str(os.getpid())}
        self.environment.pop(THREADS, None)  # Ray's own: the CPUs of all processes of this machine
        if threads:
            self.environment[THREADS] = str(threads)
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
        # Ray's threads have Ctrl-C blocked, and a process inherits that from the thread that starts it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        self.process = subprocess.Popen(command, cwd=self.directory, env=self.environment, start_new_session=True)
        return self.process.wait()

    def send(self, number: int) -> None:
        """Pass a signal on."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def job_arguments(folder: Path) -> list[str]:
    """The command of a job, to run it here."""
    return [sys.executable, "-m", "rlllm.launch.ray_job", str(folder / FILE)]


def _main(path: Path) -> int:
    """`main`, with an error for the process that waits written where it looks."""
    try:
        return main(path)
    except ConfigError as error:
        parts = {"what": error.what, "given": str(error.given), "exists": error.exists, "hint": error.hint}
        write_json(path.parent / REFUSED, parts)
        print(f"error: {error}", file=sys.stderr, flush=True)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
