"""What a person reads of a run that trained for real: its outcome, the reasons, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm.core.runs import Run

REASON = (
    "reason --model nano --data arithmetic#160 data.level=1 data.holdout=64 eval.rows=32 eval.samples=1 "
    "num_generations=4 --per_device_train_batch_size 16 max_new_tokens=24"
)
ALIGN = (
    "align --model nano --data arithmetic#64 data.holdout=16 eval.samples=1 max_new_tokens=24 --max_steps 2 "
    "--learning_rate 1e-7 --json"
)


def codes(run: Run) -> dict[str, bool]:
    return {reason["code"]: reason["fatal"] for reason in run.verdict["reasons"]}


def test_a_collapse_is_a_failure_that_names_measure_and_interval(rlllm: Rlllm) -> None:
    said = rlllm(f"{REASON} --max_steps 3 --learning_rate 3e-2 --output-dir runs/collapse")
    run = Run(Path("runs/collapse"))
    assert said.code == 1
    assert run.outcome is not None
    assert (run.outcome.state, run.outcome.measure) == ("got worse", "pass@1")
    assert said.out.splitlines()[1].split(maxsplit=1) == ["outcome", str(run.outcome)]
    assert "verdict  failed: got_worse" in said.out
    assert "error: pass@1 got worse on the held-out rows: " in said.err
    assert "hint: lower the learning rate" in said.err
    assert codes(run) == {"got_worse": True}
    assert run.status["state"] == "done"
    assert f"Got worse: pass@1 {run.outcome.change}." in (run.path / "report.html").read_text()
    assert rlllm("runs ls --json").json[0]["outcome"] == "got worse"


def test_a_change_too_small_to_see_is_called_so(rlllm: Rlllm) -> None:
    said = rlllm(f"{ALIGN} --output-dir runs/idle")
    assert said.code == 0
    assert said.json["outcome"]["state"] == "no measurable change"
    assert said.json["outcome"]["measure"] == "gold utility"
    assert codes(Run(Path("runs/idle"))) == {"no_measurable_change": False}
    assert "No measurable change: gold utility " in Path("runs/idle/report.html").read_text()
    assert said.err.count("warning: gold utility did not change measurably: ") == 1


@pytest.mark.parametrize("how", ["--fail-on no-gain --fail-on not-measured", "fail_on=[no-gain]", "recipe.yaml"])
def test_a_change_too_small_to_see_fails_where_that_is_asked_for(how: str, rlllm: Rlllm) -> None:
    Path("recipe.yaml").write_text("fail_on: [no-gain]\n")
    said = rlllm(
        "sft --model nano --data arithmetic#48 data.holdout=16 --max_steps 1 --learning_rate 1e-12 --output-dir runs/idle "
        + how
    )
    assert said.code == 1
    assert "error: held-out loss did not change measurably" in said.err
    assert codes(Run(Path("runs/idle"))) == {"no_measurable_change": True}


PIPELINE = """
steps:
  - {name: start, stage: sft, model: nano, data: {name: arithmetic, rows: 16, holdout: 0}, max_steps: 1}
"""


def test_a_pipeline_fails_on_the_outcomes_that_are_named(rlllm: Rlllm) -> None:
    Path("steps.yaml").write_text(PIPELINE)
    said = rlllm("run ./steps.yaml --fail-on not-measured --fail-on no-gain --output-dir runs/steps")
    assert said.code == 1
    assert "error: whether training helped was not measured" in said.err
    assert rlllm("run ./steps.yaml fail-on=no-gain --output-dir runs/other").code == 0
    refused = rlllm("run ./steps.yaml --fail-on worse --dry-run")
    assert (refused.code, "unknown value of fail_on: worse" in refused.err) == (2, True)


def test_an_outcome_that_does_not_exist_is_refused(rlllm: Rlllm) -> None:
    said = rlllm("sft --model nano --fail-on worse")
    assert said.code == 2
    assert "unknown value of fail_on: worse" in said.err
    assert "no-gain, not-measured" in said.err


LETTERS = """
def letters(sample):
    return float(sum(map(ord, sample.completion)) % 9)
"""


def test_a_verifier_that_never_pays_and_completions_that_never_end_are_named(rlllm: Rlllm) -> None:
    Path("letters.py").write_text(LETTERS)
    rows = [{"prompt": f"{n} + {n} = ?", "answer": "unknowable"} for n in range(8)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = rlllm(
        *["reason", "--model", "nano", "--data", "sums.jsonl", "--reward", "exact", "--reward", "letters.py:letters"],
        *("--reward", "{name: length, budget: 90}"),
        *["--max_steps", "1", "--per_device_train_batch_size", "8", "num_generations=4", "max_new_tokens=3"],
        *["--learning_rate", "1e-4", "--output-dir", "runs/odd"],
    )
    assert said.code == 0, said.err
    assert codes(Run(Path("runs/odd"))) == {
        "reward_never_paid": False,
        "truncation": False,
        "not_measured": False,
    }
    assert "warning: the reward exact never paid: 8 of 8 completions got 0" in said.err
