"""Names of other tools that people type: each is answered with what rlllm calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm.core.config import known_keys
from rlllm.core.other_names import _COMMANDS, _SETTINGS, setting_for
from rlllm.core.runs import write_json
from rlllm.stages.catalog import STAGES, settings_classes
from rlllm_cli.main import PANELS

KNOWN = {verb: {key for cls in settings_classes(verb) for key in known_keys(cls)} for verb in STAGES}
TYPED = [
    ("grpo", "type rlllm reason --method grpo"),
    ("dpo", "type rlllm align --method dpo"),
    ("train", "type rlllm sft, train-rm, align or reason"),
    ("rlhf", "type rlllm align --method ppo"),
    ("merge", "type rlllm export RUN --merge"),
    ("align ipo", "did you mean --method ipo?"),
    ("reason dpo", "did you mean rlllm align --method dpo?"),
    ("sft --batch_size 4", "did you mean --per_device_train_batch_size?"),
    ("sft --epochs 2", "did you mean --num_train_epochs?"),
    ("sft --cutoff_len 99", "did you mean --max_length?"),
    ("reason --cutoff_len 99", "did you mean --max_completion_length?"),
    ("reason --val-size 0.1", "did you mean --data.holdout?"),
    ("reason kl_coef=0.1", "did you mean beta?"),
    ("align --train_file x", "did you mean --data?"),
    ("eval --batch_size 4", "did you mean --sampling.batch_size?"),
    ("eval mmlu --model nano", "a task of lm-evaluation-harness is written lm-eval:mmlu"),
]


@pytest.mark.parametrize(("line", "hint"), TYPED)
def test_a_name_of_another_tool_is_answered_with_what_to_type(line: str, hint: str, rlllm: Rlllm) -> None:
    said = rlllm(line)
    assert said.code == 2
    assert said.err.splitlines()[-1] == f"hint: {hint}"


@pytest.mark.parametrize("key", _SETTINGS)
def test_a_setting_of_another_tool_is_none_of_rlllm_and_leads_to_one(key: str) -> None:
    assert any(setting_for(key, known) for known in KNOWN.values())
    assert not [verb for verb, known in KNOWN.items() if key in known and setting_for(key, known)]


def test_a_command_of_another_tool_is_none_of_rlllm_and_leads_to_one() -> None:
    commands = {name for panel in PANELS.values() for name in panel}
    assert not commands & set(_COMMANDS)
    begins = {line.split()[0].rstrip(",") for word, line in _COMMANDS.items() if word != "resume"}
    assert begins <= commands


@pytest.mark.parametrize("line", ["version", "-V", "--version"])
def test_the_version_is_found_under_each_of_its_usual_names(line: str, rlllm: Rlllm) -> None:
    assert (rlllm(line).code, rlllm(line).out) == (0, rlllm("--version").out)


@pytest.mark.parametrize(
    ("line", "same"), [("help", "--help"), ("help sft", "sft --help"), ("help runs", "runs --help")]
)
def test_help_is_a_command_too(line: str, same: str, rlllm: Rlllm) -> None:
    assert rlllm(line).out == rlllm(same).out != ""


def test_a_run_is_found_by_its_name_alone(rlllm: Rlllm, tmp_path: Path) -> None:
    write_json(tmp_path / "runs" / "first" / "status.json", {"state": "done"})
    said = rlllm("runs show first")
    assert said.code == 0
    assert said.out.startswith(f"run      {Path('runs') / 'first'}")


def test_a_loss_type_may_be_written_without_brackets(rlllm: Rlllm) -> None:
    said = rlllm("align --model nano --data arithmetic --loss_type ipo --dry-run")
    assert (said.code, said.out.partition("\n")[0].partition(": ")[2]) == (0, "loss_type=['ipo']")
