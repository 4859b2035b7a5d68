"""Runs under torchrun: a list of jobs, made one after another by the same processes, since importing torch takes longest.

    python -m torch.distributed.run --nproc_per_node 2 launched.py JOBS.json

A job has the verb, the settings and the rows of an optimizer step, which the processes share. One with `begun_by` goes on with
a run that so many processes began.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REWARDS = """
import os


def vowels(sample):
    return sum(letter in "aeiou" for letter in sample.completion) + 0.01 * len(sample.completion.encode())


def rarely(sample):
    return float(vowels(sample) >= 1)


def full_on_rank_1(sample):
    if os.environ["RANK"] == "1":
        raise ValueError("the sandbox is full")
    return vowels(sample)
"""


LIMIT = 900
"""Seconds after which something hangs, on a machine however busy."""


def write_rewards(folder: Path) -> Path:
    path = folder / "rewards.py"
    path.write_text(REWARDS)
    return path


def launch(
    command: Sequence[str], processes: int, launcher: Sequence[str] = (), **environment: str
) -> subprocess.Popen[str]:
    """Start a command of Python in so many processes; they share the output, which is read from `stdout`."""
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    launcher = [sys.executable, "-m", *(launcher or torchrun)]
    return subprocess.Popen(
        [*launcher, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )


def sharding(folder: Path, processes: int, how: str = "fsdp") -> list[str]:
    """`accelerate launch` with the files that `launch` writes for an engine."""
    from rlllm.launch.engine_files import ACCELERATE, engine_files
    from rlllm.launch.settings import LaunchConfig
    from rlllm.launch.topology import Topology

    files = engine_files(LaunchConfig.checked(how), Topology(1, processes, 0), folder, precision="no")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return ["accelerate.commands.launch", "--config_file", str(folder / ACCELERATE), "--main_process_port", "0"]


def without_end(run: Path, copy: Path, checkpoint: str) -> None:
    """Copy a run as it would be, had its processes been killed after all but this last checkpoint."""
    ends = ("model", checkpoint, "results.json", "verdict.json", "measured_after.json")
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns(*ends))
    status = json.loads((copy / "status.json").read_text())
    (copy / "status.json").write_text(json.dumps({**status, "state": "failed"}))


def run_jobs(jobs: Mapping[str, Any], folder: Path, processes: int, launcher: Sequence[str] = ()) -> None:
    """Make every job's run in `folder/NAME`."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: {**job, "output_dir": str(folder / name)} for name, job in jobs.items()}
    (folder / "jobs.json").write_text(json.dumps(list(places.values())))
    with launch([__file__, str(folder / "jobs.json")], processes, launcher) as process:
        try:
            said, _ = process.communicate(timeout=LIMIT)
        finally:
            process.terminate()  # the launcher ends the others
    assert process.returncode == 0, said[-4000:]


def main(jobs: Sequence[Mapping[str, Any]]) -> None:
    import rlllm

    verbs = {"sft": rlllm.sft, "train-rm": rlllm.train_rm, "align": rlllm.align, "reason": rlllm.reason}
    for job in jobs:
        begun_by = job.get("begun_by")
        share = job["rows"] // (begun_by or int(os.environ["WORLD_SIZE"]))
        settings = {**job["settings"], "per_device_train_batch_size": share}
        verbs[job["verb"]](output_dir=job["output_dir"], resume=begun_by is not None, **settings)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
