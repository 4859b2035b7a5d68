"""A run is resumed with what it began with: what was edited meanwhile is refused by name, or accepted by name and recorded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ExitCode
from rlllm.core.runs import Run
from rlllm_cli.main import run as command_line

REWARD = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

def vowels(sample):
    from helpers_of_rewards import counted
    return counted(sample.completion, "aeiou")
"""
HELPERS = """
from tables_of_rewards import WORTH

def counted(text, letters):
    return WORTH * sum(letter in letters for letter in text)
"""
MASK = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scales_of_masks import SCALE

def halves(batch):
    return batch.loss_mask * SCALE
"""
ROWS = [{"prompt": f"{number}+1=", "answer": str(number + 1)} for number in range(12)]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def stopped(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, the reward and the model of a run that ended between two of its checkpoints."""
    folder = tmp_path_factory.mktemp("stopped")
    write_rows(folder / "rows.jsonl", ROWS)
    (folder / "rewards.py").write_text(REWARD)
    (folder / "helpers_of_rewards.py").write_text(HELPERS)
    (folder / "tables_of_rewards.py").write_text("WORTH = 1\n")
    (folder / "masks.py").write_text(MASK)
    (folder / "scales_of_masks.py").write_text("SCALE = 1\n")
    shutil.copytree(tiny_model, folder / "model")
    assert command_line(words(folder)) == 0
    run = Run(folder / "run")
    shutil.rmtree(run.checkpoints / "checkpoint-4")  # as if it had been killed on its way there
    (run.path / "verdict.json").unlink()
    shutil.rmtree(run.model)
    run.set_status("running", stage="reason")
    return folder


def words(folder: Path) -> list[str]:
    given = ["--model", str(folder / "model"), "--data", str(folder / "rows.jsonl"), "data.holdout=2", "eval.rows=0"]
    settings = ["--max_steps", "4", "--save_steps", "2", "num_generations=4", "rollout.max_new_tokens=6"]
    rewards = [
        "--reward",
        f"{folder}/rewards.py:vowels",
        "per_device_train_batch_size=8",
        f"mask={folder}/masks.py:halves",
    ]
    return ["reason", *given, *settings, *rewards, "--output-dir", str(folder / "run")]


def change_data(folder: Path) -> None:
    write_rows(folder / "rows.jsonl", [*ROWS[:5], {"prompt": "x", "answer": "y"}, *ROWS[6:]])


def change_order(folder: Path) -> None:
    write_rows(folder / "rows.jsonl", ROWS[::-1])


def change_reward(folder: Path) -> None:
    (folder / "rewards.py").write_text(REWARD.replace("aeiou", "aeio"))


def change_mask(folder: Path) -> None:
    (folder / "masks.py").write_text(MASK.replace("* SCALE", "* 1.0"))


def change_what_a_helper_imports(folder: Path) -> None:
    (folder / "tables_of_rewards.py").write_text("WORTH = 2\n")


def change_what_a_mask_imports(folder: Path) -> None:
    (folder / "scales_of_masks.py").write_text("SCALE = 1.0\n")


def change_model(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model" / "model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor * 1.01 for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


CHANGES = [
    (change_data, "data", "the data are not those", "1 rows gone and 1 new in "),
    (change_order, "data", "the data are not those", "the same rows in another order in "),
    (change_model, "model", "the weights of the model are not those", "(weights "),
]


@pytest.fixture
def restored(stopped: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder, which is afterwards as it was."""
    shutil.copytree(stopped, tmp_path / "kept")
    yield stopped
    shutil.rmtree(stopped)
    shutil.copytree(tmp_path / "kept", stopped)


@pytest.mark.parametrize(("change", "part", "what", "difference"), CHANGES)
def test_what_changed_is_refused_with_the_difference_and_accepted_by_its_name(
    restored: Path, change: Any, part: str, what: str, difference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage = restored / "run" / "lineage.json"
    before = json.loads(lineage.read_text())
    change(restored)
    assert command_line([*words(restored), "--resume"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert [text in said for text in (what, difference, f"--accept-change {part}")] == [True] * 3
    assert json.loads(lineage.read_text()) == before
    assert command_line([*words(restored), "--resume", "--accept-change", part, "--json"]) == 0
    assert_recorded(restored, part, difference, before, json.loads(capsys.readouterr().out)["verdict"])


def assert_recorded(folder: Path, part: str, difference: str, before: dict[str, Any], verdict: dict[str, Any]) -> None:
    reasons = {row["code"]: row["text"] for row in verdict["reasons"]}
    assert difference in reasons["resumed_with_changes"]
    lineage = json.loads((folder / "run" / "lineage.json").read_text())
    assert lineage[part] != before[part]
    assert [entry["before"][part] for entry in lineage["history"]] == [before[part]]
    assert [(entry["step"], entry["accepted"]) for entry in lineage["history"]] == [(4, [part])]


@pytest.mark.parametrize(
    ("change", "part", "what", "difference"),
    [
        (change_reward, "rewards", "the rewards are not those", "vowels (hash "),
        pytest.param(
            change_what_a_helper_imports,
            "rewards",
            "the rewards are not those",
            ": tables_of_rewards.py (hash ",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            change_what_a_mask_imports,
            "code",
            "the Python files are not those",
            "scales_of_masks.py (hash ",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            change_mask, "code", "the Python files are not those", "masks.py:halves (hash ", marks=pytest.mark.slow
        ),
    ],
)
def test_a_python_file_that_changed_is_refused_and_accepted_likewise(
    restored: Path, change: Any, part: str, what: str, difference: str
) -> None:
    before = json.loads((restored / "run" / "lineage.json").read_text())
    change(restored)
    program = [sys.executable, "-m", "rlllm_cli", *words(restored), "--resume"]  # a module is read once a process
    refused = subprocess.run(program, capture_output=True, text=True)
    assert refused.returncode == ExitCode.USAGE, refused.stderr
    assert [text in refused.stderr for text in (what, difference, f"--accept-change {part}")] == [True] * 3
    accepted = subprocess.run([*program, "--accept-change", part, "--json"], capture_output=True, text=True)
    assert accepted.returncode == 0, accepted.stderr
    assert_recorded(restored, part, difference, before, json.loads(accepted.stdout)["verdict"])


def test_logs_that_end_before_the_checkpoint_are_brought_back_or_said(restored: Path) -> None:
    run = Run(restored / "run")
    before = run.metrics()
    (run.path / "metrics.jsonl").unlink()
    (run.path / "samples.jsonl").write_text("")
    (run.path / "lineage.json").write_text("")
    assert command_line([*words(restored), "--resume"]) == 0
    after = run.metrics()
    assert [row["step"] for row in after] == [1, 2, 3, 4]
    assert [row["loss"] for row in after[:2]] == [row["loss"] for row in before[:2]]
    text = next(row["text"] for row in run.verdict["reasons"] if row["code"] == "resumed_with_changes")
    assert "metrics.jsonl lacked 2 steps, 1 to 2: brought back from checkpoint-2" in text
    assert "completions of the steps until 2 are lost" in text
    assert "lineage.json is damaged: it is empty" in text
    assert json.loads((run.path / "lineage.json").read_text())["data"]["train"] == 10
