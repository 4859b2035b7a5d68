"""Every method the table lists runs two steps, by the command that `rlllm methods show` prints for it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm.algorithms.methods.base import Method
from rlllm.algorithms.registry import METHODS
from rlllm.core.runs import Run
from rlllm.training.registry import trainer_of

REWARD = (
    "def vowels(sample): return sum(letter in 'aeiou' for letter in sample.completion) + len(sample.completion) / 99"
)
SMALL = "data.rows=16 data.holdout=0 learning_rate=1e-3 max_steps=2 defaults=trl"
FOR_TRAINER = {
    "rl": "max_new_tokens=6",
    "pretrain": "max_new_tokens=6 rewards=[next-token,rewards.py:vowels]",
    "pretrain-plain": "max_new_tokens=6",
    "generative": "max_new_tokens=6 rewards=rewards.py:vowels",
    "ensemble": "members=2",
    "iterative-dpo": "max_new_tokens=6 iterations=2",
    "spin": "max_new_tokens=6 iterations=2",
}


def method(name: str) -> Method:
    loaded = METHODS.load(name)
    assert isinstance(loaded, Method)
    return loaded


def cases() -> list[tuple[str, str]]:
    built_in = sorted(METHODS.builtins)
    return [(name, stage) for name in built_in for stage in method(name).stages]


@pytest.mark.parametrize("name", sorted(METHODS.builtins))
def test_the_command_shown_for_a_method_can_be_planned(rlllm: Rlllm, name: str) -> None:
    shown = rlllm(f"methods show {name}").out.splitlines()[-1]
    assert rlllm(*shlex.split(shown)[1:], "--dry-run").code == 0


@pytest.mark.parametrize(("name", "stage"), cases())
def test_a_method_runs_two_steps_in_every_stage_that_has_it(
    rlllm: Rlllm, tiny_model: str, tmp_path: Path, name: str, stage: str
) -> None:
    (tmp_path / "rewards.py").write_text(REWARD)
    words = shlex.split(rlllm(f"methods show {name}").out.splitlines()[-1].replace("gold", "rewards.py:vowels"))[2:]
    trainer = trainer_of(method(name)).name
    if trainer == "rl" and ("--reward" not in words or name == "ttrl"):  # no two answers of a random model agree
        words += ["--reward", "rewards.py:vowels"]
    if stage == "pretrain":
        words += ["--data", "text:rlllm"]
    small = f"{SMALL} {FOR_TRAINER.get(trainer, '')}".split()
    said = rlllm(stage, *words, *small, "--model", tiny_model, "--output-dir", "run")
    assert said.code == 0, said.err
    assert Run(tmp_path / "run").verdict["diagnostics"]["steps_done"] >= 2
