"""Recipes, rewards, methods, data and doctor: what is listed, shown, copied and checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import Rlllm

from rlllm.algorithms.registry import METHODS, SLOTS
from rlllm.core.recipes import list_recipes
from rlllm.core.registry import Registry
from rlllm.data.registry import DATASETS
from rlllm.data.schemas.registry import SCHEMAS
from rlllm.evals.monitors.dynamics.registry import MONITORS
from rlllm.evals.registry import METRICS
from rlllm.rewards.registry import REWARDS

SHORT = """# rlllm reason short
data: {name: arithmetic, rows: 64}
trainer: {max_steps: 2}
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin with one recipe of a stage and one pipeline."""
    place = tmp_path / "site"
    info = place / "shorts-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shorts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rlllm.recipes]\nshorts = shorts\n")
    for name, text in {
        "reason/short": SHORT,
        "eval/tiny": "# Few problems.\nrows: 4\n",
        "pipelines/duo": "title: Two\nsteps:\n- {name: one, stage: reason, recipe: short}\n",
    }.items():
        path = place / "shorts" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(place))


@pytest.mark.parametrize(
    ("words", "registry"),
    [
        ("rewards ls", REWARDS),
        ("data ls", DATASETS),
        ("data schemas", SCHEMAS),
        ("methods ls", METHODS),
        ("methods ls --slots", SLOTS),
        ("metrics ls", METRICS),
        ("monitors ls", MONITORS),
    ],
)
def test_lists_name_everything_with_a_line_about_it(words: str, registry: Registry, rlllm: Rlllm) -> None:
    said = rlllm(words)
    assert (said.code, said.err) == (0, "")
    rows = [line.split("  ") for line in said.out.splitlines()[1:]]
    assert [row[0] for row in rows] == registry.names()
    assert [entry["name"] for entry in rlllm(f"{words} --json").json] == registry.names()


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("sft", "sft"),
        ("train-rm", "bt ensemble process generative"),
        (
            "align",
            "dpo ipo hinge robust exo nca apo-zero apo-down aot aot-unpaired sppo bco-pair discopop sigmoid-norm kto orpo "
            "simpo cpo tpo rrhf grpo dr-grpo gspo cispo rloo dapo bnpo sapo luspo vespo gmpo reinforce++ reinforce++-baseline "
            "lite-ppo clip-cov kl-cov entropy-80-20 ict starpo e3rl adaptive-entropy intuitor entropy-min replay pass-band "
            "ppo online-dpo remax raft constrained iterative-dpo spin",
        ),
        (
            "reason",
            "grpo dr-grpo gspo cispo rloo dapo bnpo sapo luspo vespo gmpo reinforce++ reinforce++-baseline lite-ppo clip-cov "
            "kl-cov entropy-80-20 ict dasd opsd rlsd rlrt starpo e3rl tracer vac-grpo "
            "adaptive-entropy ttrl intuitor entropy-min hints luffy replay pass-band ppo online-dpo "
            "remax raft constrained",
        ),
        ("eval", ""),
    ],
)
def test_methods_of_one_stage(stage: str, names: str, rlllm: Rlllm) -> None:
    listed = [entry["name"] for entry in rlllm(f"methods ls --stage {stage} --json").json]
    assert sorted(listed) == sorted(names.split())


def test_a_method_is_shown_with_its_source_and_presets(rlllm: Rlllm) -> None:
    said = rlllm("methods show gspo")
    assert "importance_sampling_level: sequence" in said.out
    assert "https://arxiv.org/abs/2507.18071\n" in said.out
    assert "page      docs/methods/grpo.md\n" in said.out
    assert "w_i = exp(mean_t log(pi(y_t) / pi_old(y_t)))\n" in said.out
    assert said.out.endswith("rlllm reason --method gspo\n")
    shown = rlllm("methods show online-dpo").out
    assert "stages      align, reason\n" in shown
    assert "defaults    rollout.group_size: 2\n            kl.where: nowhere\n" in shown
    described = rlllm("methods show gspo --json").json
    assert described["settings"]["importance_sampling_level"] == "sequence"
    assert described["links"] == ["https://arxiv.org/abs/2507.18071"]


def test_recipes_are_listed_with_the_line_that_runs_them(rlllm: Rlllm) -> None:
    said = rlllm("recipes ls")
    assert "reason/short" in said.out
    assert "rlllm run duo" in said.out
    listed = rlllm("recipes ls --stage eval --json").json
    assert "eval/tiny" in [entry["name"] for entry in listed]
    assert {entry["stage"] for entry in listed} == {"eval"}


def test_a_recipe_is_shown_as_it_is_written(rlllm: Rlllm) -> None:
    assert rlllm("recipes show reason/short").out == SHORT
    assert rlllm("recipes show short --json").json["settings"]["trainer"] == {"max_steps": 2}


@pytest.mark.parametrize("name", ["reason/short", "eval/tiny", "pipelines/duo"])
def test_a_copied_recipe_checks_and_runs_as_what_it_was(name: str, rlllm: Rlllm, tmp_path: Path, model: str) -> None:
    copied = rlllm(f"recipes copy {name} mine.yaml")
    assert (copied.code, copied.out) == (0, "mine.yaml\n")
    checked = rlllm("recipes check mine.yaml")
    assert (checked.code, checked.out) == (0, "ok  mine.yaml\n")
    original = yaml.safe_load(rlllm(f"recipes show {name}").out)
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text()) == original
    line = copied.err.strip().removeprefix("run it with: rlllm ")
    options = "--dry-run" if name.startswith("pipelines") else f"--dry-run --model {model}"
    assert rlllm(f"{line} {options}").code == 0


def test_a_copy_takes_the_recipes_own_name_and_overwrites_nothing(rlllm: Rlllm, tmp_path: Path) -> None:
    assert rlllm("recipes copy reason/short").out == "short.yaml\n"
    (tmp_path / "short.yaml").write_text("seed: 7\n")
    said = rlllm("recipes copy reason/short")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: the file exists")
    assert (tmp_path / "short.yaml").read_text() == "seed: 7\n"
    assert rlllm("recipes copy reason/short --overwrite").code == 0
    assert (tmp_path / "short.yaml").read_text() == SHORT
    (tmp_path / "folder").mkdir()
    assert rlllm("recipes copy reason/short folder").out == "folder/short.yaml\n"


@pytest.mark.parametrize("target", ["mine.txt", "nowhere/mine.yaml"])
def test_a_copy_that_cannot_be_is_refused(target: str, rlllm: Rlllm) -> None:
    assert rlllm(f"recipes copy reason/short {target}").code == 2


def test_every_problem_is_reported_and_the_good_ones_too(rlllm: Rlllm, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("# rlllm reason bad.yaml\nmodle: nano\n")
    (tmp_path / "stray.yaml").write_text("seed: 1\n")
    said = rlllm("recipes check bad.yaml reason/short stray.yaml")
    assert said.code == 2
    assert said.out == "ok  reason/short\n"
    assert "bad.yaml:\nerror: unknown key for reason: modle\n\nhint: did you mean model?" in said.err
    assert "stray.yaml:\nerror: which stage is this recipe for?" in said.err
    problems = rlllm("recipes check bad.yaml reason/short --json").json
    assert [(row["recipe"], bool(row["error"])) for row in problems] == [("bad.yaml", True), ("reason/short", False)]
    assert rlllm("recipes check stray.yaml --stage reason").code == 0


def test_every_recipe_that_ships_resolves(rlllm: Rlllm) -> None:
    said = rlllm("recipes check --all")
    assert (said.code, said.err) == (0, "")
    assert said.out.count("ok  ") == len(list_recipes())


def test_a_pipeline_is_planned_step_by_step(rlllm: Rlllm) -> None:
    said = rlllm("run duo --dry-run")
    assert (said.code, said.err) == (0, "")
    _, step, heading, *plan = said.out.splitlines()
    assert (step.split()[:4], heading) == (["one", "reason", "run", "short"], "one")
    assert {"model", "data", "cost", "memory"} <= {line.split()[0] for line in plan}
    document = rlllm("run duo --dry-run --json --seed 3").json
    assert document["seed"] == 3
    assert document["planned"]["one"]["stage"] == "reason"
    assert rlllm("run duo --dry-run --json seed=4 output_dir=out").json["seed"] == 4


def test_a_pipeline_whose_data_cannot_be_reached_shows_its_steps_and_says_why(rlllm: Rlllm) -> None:
    said = rlllm("run gsm8k --dry-run")
    assert said.code == 2
    assert [line.split()[:2] for line in said.out.splitlines()[1:4]] == [
        ["before", "eval"],
        ["reason", "reason"],
        ["after", "eval"],
    ]
    assert "the Hub cannot be reached" in said.err
    assert "openai/gsm8k" in said.err


def test_a_pipeline_takes_another_model_and_other_data(rlllm: Rlllm, model: str) -> None:
    said = rlllm(f"run gsm8k model={model} data=arithmetic test=arithmetic reason.rollout.max_new_tokens=32 --dry-run")
    assert (said.code, said.err) == (0, "")
    assert "gsm8k: pass on 1319 rows of arithmetic" in said.out
    assert "100 steps, 100 rollouts, 16,000 completions" in said.out


def test_eval_recipes_are_told_from_tasks(rlllm: Rlllm, model: str) -> None:
    plan = rlllm(f"eval tiny countdown --model {model} --dry-run --json").json
    assert [(task["name"], task["rows"]) for task in plan["tasks"]] == [("countdown", 4)]


def test_doctor_lists_versions_and_the_machine(rlllm: Rlllm) -> None:
    report = rlllm("doctor --json")
    diagnostics = report.json["diagnostics"]
    assert report.code == (0 if report.json["ok"] else 1)
    assert {"rlllm", "python", "torch", "transformers", "trl", "cpus", "gpu driver", "telemetry"} <= set(diagnostics)
    assert "pytest" not in diagnostics, "extras are not needed"
    lines = rlllm("doctor").out.splitlines()
    assert lines[0].split() == ["rlllm", diagnostics["rlllm"]]


def test_a_reader_that_has_heard_enough_is_no_error() -> None:
    command = [Path(sys.executable).with_name("rlllm"), "methods", "ls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
