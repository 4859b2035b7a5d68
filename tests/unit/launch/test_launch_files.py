"""The files of a launch, read by what they are for: accelerate, DeepSpeed, bash, and the options that sbatch has."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rlllm.core import yaml_io
from rlllm.core.errors import ConfigError
from rlllm.launch.plan import LaunchPlan, plan_launch
from rlllm.launch.settings import LaunchConfig
from rlllm.launch.slurm import seconds_of

WORDS = ["sft", "quickstart", "data=a file.jsonl", "--output-dir", "runs/x"]
SBATCH_OPTIONS = {
    *("account", "constraint", "cpus-per-task", "gpus-per-node", "job-name", "mem", "nodes", "ntasks-per-node"),
    *("open-mode", "output", "partition", "qos", "signal", "time"),
}
"""Of the manual page of sbatch, version 22.05: those of its long options that a job file here may have."""
EVERY_FIELD = {
    "name": "slurm",
    "engine": "fsdp",
    "nodes": 2,
    "processes": 4,
    "cpus_per_process": 3,
    "partition": "gpu",
    "account": "a1",
    "qos": "high",
    "constraint": "a100&ib",
    "time": "1-02:00:00",
    "memory": "500G",
    "setup": ["module load cuda", "source env/bin/activate"],
}


def planned(values: Any, folder: Path, precision: str | None = None) -> LaunchPlan:
    return plan_launch(LaunchConfig.checked(values), folder / "run", WORDS, name="rlllm-test", precision=precision)


def written(plan: LaunchPlan, folder: Path) -> Path:
    place = folder / "run" / "launch"
    place.mkdir(parents=True)
    for name, text in plan.files.items():
        (place / name).write_text(text, encoding="utf-8")
    return place


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"name": "ddp", "processes": 2}, "MULTI_GPU"),
        ({"name": "fsdp", "processes": 2}, "FSDP"),
        ({"name": "slurm", "engine": "fsdp", "nodes": 2, "processes": 8, "checkpoints": "sharded"}, "FSDP"),
        ({"name": "slurm", "engine": "deepspeed-zero3", "nodes": 2, "processes": 8, "offload": True}, "DEEPSPEED"),
    ],
)
def test_accelerate_reads_its_file(values: dict[str, Any], kind: str, tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    folder = written(planned(values, tmp_path), tmp_path)
    read = load_config_from_file(str(folder / "accelerate.yaml"))
    assert str(read.distributed_type).endswith(kind)
    assert read.num_processes == values.get("nodes", 1) * values["processes"]
    assert read.num_machines == values.get("nodes", 1)
    if kind == "FSDP":
        assert read.fsdp_config["fsdp_version"] == 2
        sharded = values.get("checkpoints") == "sharded"
        assert read.fsdp_config["fsdp_state_dict_type"] == ("SHARDED_STATE_DICT" if sharded else "FULL_STATE_DICT")


def test_accelerates_parser_and_torchruns_take_the_command(tmp_path: Path) -> None:
    """The words of the run come out as they went in."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    plan = planned({"name": "fsdp", "processes": 2}, tmp_path)
    written(plan, tmp_path)
    assert plan.command[1:3] == ["-m", "rlllm.launch.agent"]
    options, _, _ = _validate_launch_command(launch_command_parser().parse_args(plan.command[3:]))
    assert options.use_fsdp
    assert (options.training_script, options.training_script_args) == ("rlllm_cli", WORDS)


@pytest.mark.parametrize(("given", "gpus", "format"), [(None, 8, "bf16"), (None, 0, "no"), ("fp16", 8, "fp16")])
def test_the_number_format_is_the_trainers(given: str | None, gpus: int, format: str, tmp_path: Path) -> None:
    values = {"name": "slurm", "processes": 8, "gpus_per_node": gpus}
    read = yaml_io.parse(planned(values, tmp_path, given).files["accelerate.yaml"], source="test")
    assert read["mixed_precision"] == format
    assert read["use_cpu"] is (gpus == 0)


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("offload", [False, True])
def test_deepspeed_reads_its_file(stage: int, offload: bool, tmp_path: Path) -> None:
    pytest.importorskip("deepspeed")
    from deepspeed.runtime.config import DeepSpeedConfig

    values = {"name": "slurm", "engine": f"deepspeed-zero{stage}", "processes": 8, "offload": offload}
    settings = json.loads(planned(values, tmp_path).files["deepspeed.json"])
    filled = _filled(settings, train_batch_size=1, train_micro_batch_size_per_gpu=1, gradient_accumulation_steps=1)
    read = DeepSpeedConfig(filled)
    assert read.zero_config.stage == stage
    assert (read.zero_config.offload_optimizer is not None) is offload
    assert (read.zero_config.offload_param is not None) is (offload and stage == 3)


def _filled(settings: dict[str, Any], **known: Any) -> dict[str, Any]:
    """DeepSpeed's settings with what transformers fills in for `auto`: of the trainer where it is known, else left out."""
    filled = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            filled[name] = _filled(value)
        elif value != "auto" or name in known:
            filled[name] = known.get(name, value)
    return filled


def test_every_line_of_a_job_file_is_an_option_of_sbatch(tmp_path: Path) -> None:
    text = planned(EVERY_FIELD, tmp_path).files["job.sbatch"]
    lines = [line for line in text.splitlines() if line.startswith("#SBATCH ")]
    options = dict(re.fullmatch(r"#SBATCH --([a-z-]+)=(\S+)", line).groups() for line in lines)  # type: ignore[union-attr]
    assert options.keys() == SBATCH_OPTIONS
    assert options["nodes"] == "2"
    assert options["gpus-per-node"] == "4"
    assert options["cpus-per-task"] == "12"
    assert options["time"] == "1-02:00:00"
    head = text.splitlines()
    assert head[0] == "#!/bin/bash"
    assert all(
        line.startswith("#SBATCH") for line in head[1 : len(lines) + 1]
    )  # sbatch reads no option behind a command
    assert head.index("module load cuda") < next(number for number, line in enumerate(head) if line.startswith("srun "))


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("90", 5400),
        ("2:30", 150),
        ("1:00:05", 3605),
        ("2-0", 172_800),
        ("1-02:30", 95_400),
        ("1-02:00:07", 93_607),
    ],
)
def test_a_time_limit_is_read_as_sbatch_does(limit: str, seconds: int) -> None:
    assert seconds_of(limit) == seconds


@pytest.mark.parametrize(("limit", "notice"), [(None, 120), ("24:00:00", 120), ("3", 90)])
def test_a_checkpoint_is_asked_for_before_the_limit_and_not_at_the_start(
    limit: str | None, notice: int, tmp_path: Path
) -> None:
    values = {"name": "slurm", "processes": 2, **({"time": limit} if limit else {})}
    assert f"#SBATCH --signal=INT@{notice}\n" in planned(values, tmp_path).files["job.sbatch"]


@pytest.mark.parametrize(
    ("values", "cpus"),
    [
        ({"cpus_per_process": 3}, 6),
        ({"gpus_per_node": 0}, 2),
        ({"gpus_per_node": 0, "cpus_per_process": 2}, 4),
        ({}, None),
    ],
)
def test_the_cpus_of_a_job_are_those_of_its_step(values: dict[str, int], cpus: int | None, tmp_path: Path) -> None:
    text = planned({"name": "slurm", "processes": 2, **values}, tmp_path).files["job.sbatch"]
    found = re.findall(r"--cpus-per-task=(\d+)", text)
    assert found == ([str(cpus)] * 2 if cpus else [])


def test_scripts_of_slurm_are_valid_shell_and_start_each_machine_with_its_number(tmp_path: Path) -> None:
    """The real bash expands the command of one machine; a program in the place of python prints what it gets."""
    plan = planned(EVERY_FIELD, tmp_path)
    folder = written(plan, tmp_path)
    for name in ("job.sbatch", "machine.sh"):
        assert subprocess.run(["bash", "-n", str(folder / name)], check=False).returncode == 0
    script = folder / "machine.sh"
    echo = tmp_path / "python"
    echo.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    echo.chmod(0o755)
    script.write_text(re.sub(r"^exec \S+", f"exec {echo}", script.read_text(), flags=re.MULTILINE))
    known = {"SLURM_NODEID": "1", "MASTER_ADDR": "node7", "MASTER_PORT": "23456"}
    shown = subprocess.run(
        ["bash", str(script)], env={**os.environ, **known}, capture_output=True, text=True, check=True
    )
    words = shown.stdout.splitlines()
    assert words[words.index("--machine_rank") + 1] == "1"
    assert words[words.index("--main_process_ip") + 1] == "node7"
    assert words[words.index("--main_process_port") + 1] == "23456"
    assert words[-len(WORDS) :] == WORDS


def test_a_ray_job_has_a_bundle_for_each_machine(tmp_path: Path) -> None:
    values = {"name": "ray", "nodes": 2, "processes": 8, "cpus_per_process": 4, "engine": "fsdp"}
    job = yaml_io.parse(planned(values, tmp_path).files["ray.yaml"], source="test")
    assert job["placement"] == {"strategy": "STRICT_SPREAD", "bundles": [{"CPU": 32, "GPU": 8}] * 2}
    assert {"MACHINE", "ADDRESS", "PORT"} <= set(job["command"])
    assert job["command"][-len(WORDS) :] == WORDS


def test_what_is_missing_is_an_error_on_this_machine_and_a_warning_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'rlllm\[deepspeed\]'"):
        planned({"name": "deepspeed-zero2", "processes": 2}, tmp_path)
    (no_sbatch,) = planned({"name": "slurm", "processes": 2}, tmp_path).warnings
    assert "sbatch is not on this machine" in no_sbatch
    (no_ray,) = planned({"name": "ray", "processes": 2}, tmp_path).warnings
    assert "rlllm[ray]" in no_ray
