"""`--controls`, `--seeds` and the cost of a run, as they are typed and printed; nothing is trained here."""

from __future__ import annotations

import pytest
from command_line import Rlllm

SMALL = "data.name=arithmetic data.rows=64 data.holdout=16 max_steps=3 per_device_train_batch_size=8"


@pytest.mark.parametrize(
    "words",
    [
        "--controls random,frozen --seeds 2",
        "--controls=random,frozen --seeds=2",
        "controls=random,frozen seeds=2",
        "controls=[random,frozen] --seeds 2",
    ],
)
def test_a_dry_run_says_how_many_runs_there_will_be_and_what_each_costs(rlllm: Rlllm, model: str, words: str) -> None:
    said = rlllm(f"reason --model {model} {SMALL} {words} --dry-run")
    assert said.code == 0, said.err
    assert "6 whole runs, one after another" in said.out
    assert "3 steps, 3 rollouts, 24 completions" in said.out


def test_a_dry_run_of_one_run_says_what_it_costs(rlllm: Rlllm, model: str) -> None:
    said = rlllm(f"reason --model {model} {SMALL} --dry-run --json")
    assert said.code == 0, said.err
    cost = said.json["cost"]
    assert (cost["runs"], cost["steps"], cost["completions"], cost["tokens_sampled"]) == (1, 3, 24, 24 * 512)
    assert cost["memory"] is None, "the model's file has no header"


def test_a_dry_run_of_a_verb_without_rollouts_prints_no_cost(rlllm: Rlllm, model: str) -> None:
    said = rlllm(f"sft --model {model} data.name=arithmetic data.rows=64 --dry-run --json")
    assert said.code == 0, said.err
    assert "cost" not in said.json


WRONG = [
    (f"reason {SMALL} --controls rndom", "unknown control: rndom"),
    (f"reason {SMALL} --controls random,random", "a control is named twice"),
    (f"reason {SMALL} --controls random eval.rows=0", "compared on held-out prompts, and there are none"),
    (f"reason {SMALL} --seeds 0", "seeds: input should be greater than or equal to 1"),
    (f"reason {SMALL} --controls random --reward exact=0 --reward format", "the first reward decides what passes"),
    ("align --controls random", "no such option for align: --controls"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_wrong_experiment_is_refused_before_anything_runs(rlllm: Rlllm, model: str, line: str, message: str) -> None:
    said = rlllm(f"{line} --model {model} --dry-run")
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
