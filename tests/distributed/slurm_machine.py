"""A Slurm of this machine alone: munged, slurmctld and slurmd with a folder of their own, from the packages of a distribution.

They are found on PATH, or under RLLLM_TEST_SLURM, a folder into which the packages were unpacked (`dpkg -x`): on Debian munge,
slurmctld, slurmd, slurm-client, slurm-wlm-basic-plugins, libmunge2, libhwloc15 and liblua5.1-0.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

FOLDER = "RLLLM_TEST_SLURM"
PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "srun", "scancel", "squeue", "scontrol")
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_min_interval=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def programs() -> dict[str, str]:
    """Name -> path of the programs that were found; Debian has some under another name."""
    path = os.pathsep.join([*_places("bin", "sbin"), os.environ["PATH"], "/usr/sbin"])
    found = {name: shutil.which(name, path=path) or shutil.which(f"{name}-wlm", path=path) for name in PROGRAMS}
    return {name: place for name, place in found.items() if place}


def runs_here() -> bool:
    """Whether it can be started: all programs are there, and this is root, who starts jobs as their users."""
    return os.geteuid() == 0 and len(programs()) == len(PROGRAMS)


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start the three services, and end them; gives the environment in which Slurm's commands find them.

    Args:
        folder: for their state and logs; munge's socket needs a short path.
    """
    found = programs()
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    if libraries := [*_places("lib/*-linux-gnu"), *_places("lib/*-linux-gnu/slurm-wlm")]:
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
        environment["PATH"] = os.pathsep.join([*_places("bin"), environment["PATH"]])
    _configure(folder)
    munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("socket", "key-file", "pid-file")]
    munge += [f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munge.log", "--foreground", "--force"]
    with ExitStack() as running:
        for command, ready in (
            ([found["munged"], *munge], lambda: (folder / "munge.socket").exists()),
            ([found["slurmctld"], "-D"], lambda: _answers(found, environment, "ping", "is UP")),
            (
                [found["slurmd"], "-D", "-N", _host(), "-d", found["slurmstepd"]],
                lambda: _answers(found, environment, "show node", "State=IDLE"),
            ),
        ):
            log = folder / f"{Path(command[0]).name}.out"
            process = subprocess.Popen(
                command, env=environment, stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True
            )
            running.callback(_stop, process)
            deadline = time.monotonic() + 60
            while not ready():
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
        yield environment
        subprocess.run([found["scancel"], "--user=root"], env=environment, check=False)
        deadline = time.monotonic() + 60
        while _answers(found, environment, "show job", "JobState=RUNNING") and time.monotonic() < deadline:
            time.sleep(0.2)


def _configure(folder: Path) -> None:
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    text = _CONFIGURATION.format(host=_host(), folder=folder, ports=ports)
    text += "".join(f"PluginDir={place}\n" for place in _places("lib/*-linux-gnu/slurm-wlm"))
    (folder / "slurm.conf").write_text(text)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))


def _places(*patterns: str) -> list[str]:
    """Folders below `usr` of the unpacked packages; none where they are installed."""
    root = os.environ.get(FOLDER)
    return [str(path) for pattern in patterns for path in sorted(Path(root, "usr").glob(pattern))] if root else []


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _answers(found: dict[str, str], environment: dict[str, str], asked: str, part: str) -> bool:
    command = [found["scontrol"], *asked.split()]
    return part in subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
