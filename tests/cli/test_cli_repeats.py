"""A setting that is typed twice is an error or a list, in every command; the last one never wins without a word."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from command_line import Rlllm

from rlllm.stages.catalog import STAGES
from rlllm_cli import main


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


COMMANDS = dict(_commands(typer.main.get_command(main.build())))
OPTIONS = [
    (name, max(param.opts, key=len), bool(getattr(param, "is_flag", False)))
    for name, command in COMMANDS.items()
    for param in command.params
    if param.param_type_name == "option" and not param.multiple
]


def test_there_are_options_to_try() -> None:
    assert len(OPTIONS) > 100


@pytest.mark.parametrize(("command", "option", "is_flag"), OPTIONS)
def test_an_option_given_twice_is_refused(rlllm: Rlllm, command: str, option: str, is_flag: bool) -> None:
    words = [option, option] if is_flag else [option, "1", option, "2"]
    said = rlllm(*command.split(), *words)
    assert said.code == 2
    assert f"error: {option} is given 2 times" in said.err


@pytest.mark.parametrize(
    ("line", "twice"),
    [
        ("reason --model nano max_steps=3 max_steps=4", "trainer.max_steps"),
        ("reason --model nano max_steps=3 max_steps=3", "trainer.max_steps"),
        ("reason --model nano --max_steps 3 --max-steps=4", "trainer.max_steps"),
        ("reason --model nano trainer.max_steps=3 --max_steps 4", "trainer.max_steps"),
        ("reason --model nano 'trainer={max_steps: 3}' max_steps=4", "trainer.max_steps"),
        ("reason --model nano temperature=1 rollout.temperature=0.5", "rollout.temperature"),
        ("reason --model nano num_generations=4 rollout.group_size=8", "rollout.group_size"),
        ("sft model=nano model_name_or_path=other", "model"),
        ("sft --model nano data=arithmetic dataset_name=lists", "data"),
        ("sft --model nano data=arithmetic#5 data.rows=6", "data.rows"),
        ("sft --model nano --data arithmetic data.name=lists", "data.name"),
        ("sft --model nano data.rows=6 'data={name: lists, rows: 5}'", "data.rows"),
        ("train-rm --model nano method=bt kind=ensemble", "method"),
        ("align --model nano lora.r=4 lora.r=8", "lora.r"),
        ("eval --model nano --samples 3 samples=4", "samples"),
        ("eval arithmetic --model nano rows=3 rows=4", "rows"),
        ("data show arithmetic data.level=1 data.level=2", "data.level"),
        ("data show arithmetic --kind sft --tokens max_length=9 max_length=8", "trainer.max_length"),
        ("data build holdout=1 holdout=2", "holdout"),
        ("run rlhf sft.max_steps=2 sft.max_steps=3", "sft.max_steps"),
        ("sweep reason/quickstart method=grpo method=dapo", "method"),
        ("sweep reason/quickstart seed=1 --set seed=2", "seed"),
        ("sweep reason/quickstart --set seed=1 --set seed=2", "seed"),
        ("sweep reason/quickstart --tune beta=1,2 --tune beta=3", "beta"),
        ("sft --model nano --data arithmetic --columns prompt=a,prompt=b", "prompt"),
    ],
)
def test_a_setting_given_twice_is_refused_under_all_its_names(rlllm: Rlllm, line: str, twice: str) -> None:
    verb = line.partition(" ")[0]
    said = rlllm(*shlex.split(line), *(["--dry-run"] if verb in STAGES else []))
    assert said.code == 2
    assert f"error: {twice} is given twice" in said.err, said.err


@pytest.mark.parametrize("line", ["data show arithmetic#4 data.rows=2"])
def test_rows_given_twice_are_refused(rlllm: Rlllm, line: str) -> None:
    said = rlllm(line)
    assert said.code == 2
    assert "given twice" in said.err


@pytest.mark.parametrize("order", [("data.rows=3", "data=arithmetic"), ("data=arithmetic", "data.rows=3")])
def test_a_section_typed_behind_its_fields_takes_nothing_away(rlllm: Rlllm, order: tuple[str, str]) -> None:
    said = rlllm("sft", "--model", "nano", *order, "--dry-run")
    assert said.code == 0, said.err
    assert "arithmetic: 3 training rows" in said.out


def test_a_key_that_stands_twice_in_a_recipe_is_refused(rlllm: Rlllm, tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("model: nano\ndata: arithmetic\ntrainer:\n  max_steps: 3\n  max_steps: 4\n")
    said = rlllm("sft", str(tmp_path / "twice.yaml"), "--dry-run")
    assert said.code == 2
    assert "line 5" in said.err
    assert "max_steps stands there twice" in said.err


def test_rewards_and_outcomes_are_lists(rlllm: Rlllm) -> None:
    rewards = ["--reward", "exact", "--reward", "format=0.1"]
    said = rlllm(
        "reason", "--data", "arithmetic#8", *rewards, "--fail-on", "no-gain", "--fail-on", "not-measured", "--dry-run"
    )
    assert said.code == 0, said.err
    assert "exact" in said.out
    assert "format" in said.out
