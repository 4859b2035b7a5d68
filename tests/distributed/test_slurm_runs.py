"""`launch=slurm` on a real Slurm of one machine: sbatch takes the job file, srun starts the agent, and signals arrive."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_machine
from command import (
    ENDLESS,
    SHORT,
    assert_ends_by_a_killed_rank,
    assert_interrupted_with_a_checkpoint,
    end,
    start,
    steps,
    wait_for_step,
)
from launched import LIMIT

from rlllm.core.runs import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not slurm_machine.runs_here(), reason=f"needs root and Slurm, or {slurm_machine.FOLDER}"),
]
TWO = ["launch.name=slurm", "launch.processes=2", "launch.gpus_per_node=0"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, slurm_machine.slurm(Path(folder)) as environment:
        yield environment


def asked(cluster: dict[str, str], *command: str) -> str:
    place = slurm_machine.programs()[command[0]]
    return subprocess.run([place, *command[1:]], env=cluster, capture_output=True, text=True, check=True).stdout


def job_of(said: str) -> str:
    return said.partition("Slurm job ")[2].partition(";")[0]


def test_a_job_runs_to_its_end_and_its_logs_arrive(tmp_path: Path, tiny_model: str, cluster: dict[str, str]) -> None:
    run = tmp_path / "run"
    code, said = end(start(run, *SHORT, "--model", tiny_model, *TWO, **cluster))
    assert code == 0, said[-4000:]
    assert (Run(run).status["state"], steps(run)) == ("done", 3)
    assert "finished" in said  # by rank 0, on whichever machine
    assert "finished" in (run / "logs" / "rank-0.log").read_text()
    assert (run / "logs" / "rank-1.log").exists()
    assert (run / "logs" / f"slurm-{job_of(said)}.log").exists()
    assert "NumCPUs=2" in asked(cluster, "scontrol", "show", "job", job_of(said))


def test_a_job_that_is_interrupted_goes_on_and_ends_by_a_killed_rank(
    tmp_path: Path, tiny_model: str, cluster: dict[str, str]
) -> None:
    run, words = tmp_path / "run", [*ENDLESS, "--model", tiny_model, *TWO]
    process = start(run, *words, **cluster)
    wait_for_step(process, run, 2)
    process.send_signal(signal.SIGINT)
    code, said = end(process)
    saved = assert_interrupted_with_a_checkpoint(run, said)
    assert code == 130
    process = start(run, *words, "--resume", **cluster)
    assert_ends_by_a_killed_rank(process, run, saved + 2)


def test_scancel_saves_a_checkpoint_of_a_job_that_nobody_waits_for(
    tmp_path: Path, tiny_model: str, cluster: dict[str, str]
) -> None:
    run, words = tmp_path / "run", [*ENDLESS, "--model", tiny_model, *TWO, "launch.wait=false"]
    code, said = end(start(run, *words, **cluster))
    assert code == 0, said[-4000:]
    wait_for(run, 2)
    asked(cluster, "scancel", job_of(said))
    assert_saved_at_the_end_of(job_of(said), run, cluster)


def test_a_time_limit_saves_a_checkpoint(tmp_path: Path, tiny_model: str, cluster: dict[str, str]) -> None:
    run, words = tmp_path / "run", [*ENDLESS, "--model", tiny_model, *TWO, "launch.time=5"]
    code, said = end(start(run, *words, **cluster))
    assert_interrupted_with_a_checkpoint(run, said)
    assert code == 130
    assert "TIMEOUT" not in asked(cluster, "scontrol", "show", "job", job_of(said))


def test_a_job_that_slurm_refuses_or_ends_before_it_began_is_an_error(
    tmp_path: Path, tiny_model: str, cluster: dict[str, str]
) -> None:
    words = [*SHORT, "--model", tiny_model, *TWO]
    for wait in ("true", "false"):
        code, said = end(start(tmp_path / wait, *words, "launch.partition=nowhere", f"launch.wait={wait}", **cluster))
        assert code == 1
        assert "invalid partition specified: nowhere" in said
    process = start(tmp_path / "large", *words, "launch.cpus_per_process=64", **cluster)
    deadline = time.monotonic() + LIMIT
    while not (number := asked(cluster, "squeue", "--noheader", "--states=PENDING", "--format=%i").strip()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    asked(cluster, "scancel", number)
    code, said = end(process)
    assert code == 1
    assert "ended before the run did" in said


def wait_for(run: Path, step: int) -> None:
    deadline = time.monotonic() + LIMIT
    while steps(run) < step:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def assert_saved_at_the_end_of(job: str, run: Path, cluster: dict[str, str]) -> None:
    deadline = time.monotonic() + LIMIT
    while asked(cluster, "squeue", "--noheader", f"--jobs={job}"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert_interrupted_with_a_checkpoint(run, (run / "logs" / f"slurm-{job}.log").read_text())
