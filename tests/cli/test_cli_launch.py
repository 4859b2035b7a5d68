"""`launch` at --dry-run: the files and the command are shown, and what cannot work is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Rlllm

SCALE = {"scale-7b": (1, 8), "scale-32b": (2, 8), "scale-70b": (8, 8)}


def test_a_dry_run_shows_the_files_and_the_command(
    rlllm: Rlllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = rlllm("sft", "quickstart", "launch=ddp", "launch.processes=2", "--dry-run", "--output-dir", "runs/x")
    assert shown.code == 0
    assert "ddp: 2 processes on this machine" in shown.out
    assert "launch/accelerate.yaml" in shown.out
    assert "num_processes: 2" in shown.out
    assert "-m rlllm_cli sft quickstart launch=ddp launch.processes=2 --output-dir runs/x" in shown.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("launch=dpp",), "did you mean ddp?"),
        (("launch=slurm",), "launch.processes=8"),
        (("launch=ddp", "launch.nodes=2"), "launch.name=slurm"),
        (("launch=ddp", "launch.proceses=2"), "did you mean processes?"),
    ],
)
def test_what_cannot_be_launched_is_refused(rlllm: Rlllm, words: tuple[str, ...], what: str) -> None:
    shown = rlllm("sft", "quickstart", *words, "--dry-run")
    assert shown.code == 2
    assert what in shown.err


@pytest.mark.parametrize("recipe", SCALE)
def test_the_recipes_for_many_gpus_are_planned_without_a_network(rlllm: Rlllm, recipe: str, tmp_path: Path) -> None:
    """The engine's own loader reads the file; a rollout has 1,024 completions with any number of GPUs."""
    from accelerate.commands.config.config_args import load_config_from_file

    shown = rlllm("reason", recipe, "data=arithmetic", "--dry-run", "--json")
    assert shown.code == 0, shown.err
    planned = json.loads(shown.out)
    nodes, processes = SCALE[recipe]
    launch = planned["launch"]
    assert (launch["nodes"], launch["processes"], launch["gpus_per_node"]) == (nodes, processes, 8)
    path = tmp_path / "accelerate.yaml"
    path.write_text(launch["files"]["accelerate.yaml"])
    assert load_config_from_file(str(path)).num_processes == nodes * processes
    assert planned["processes"] == {"number": nodes * processes, "rows_of_step": 1024}
