"""Pipelines: steps that start from what earlier steps made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlllm import run_pipeline
from rlllm.core.errors import ConfigError, ExitCode, RunDirectoryError
from rlllm.core.runs import read_json
from rlllm.stages.pipeline.settings import load_pipeline, with_settings

DATA = {"name": "arithmetic", "rows": 8, "holdout": 0}


def steps(*given: dict[str, Any]) -> dict[str, Any]:
    return {"steps": list(given)}


SFT = {"name": "a", "stage": "sft"}
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({}, "steps: Field required"),
    (steps(), "steps: List should have at least 1 item"),
    ({"steps": "sft"}, "steps: Input should be a valid list"),
    (steps({"stage": "sft"}), "steps.0.name: Field required"),
    (steps({"name": "a"}), "steps.0.stage: Field required"),
    (steps({"name": "a/../b", "stage": "sft"}), "steps.0.name: String should match pattern"),
    (steps({**SFT, "settings": 5}), "steps.0.settings: Input should be a valid dictionary"),
    ({"steps": [5]}, "steps.0: Input should be a valid dictionary"),
    (steps({"name": "a", "stage": "sfft"}), "unknown stage: sfft\nhint: did you mean sft?"),
    (steps({**SFT, "modle": "nano"}), "unknown key for sft: modle\nhint: did you mean model?"),
    (steps({**SFT, "recipe": "no-such-recipe"}), "unknown recipe: no-such-recipe"),
    (steps(SFT, SFT), "two steps have the same name\ngiven: a, a"),
    (steps(SFT, {"name": "b", "stage": "sft", "model": "@c"}), "step b refers to @c, which is no other step"),
    (steps(SFT, {"name": "b", "stage": "sft", "model": "@c"}), "exists: @a"),
    (steps({**SFT, "model": "@a"}), "step a refers to @a, which is no other step"),
    (steps({**SFT, "model": "@b"}, {"name": "b", "stage": "sft"}), "given: a needs b, b needs a"),
    (
        steps({"name": "a", "stage": "reason", "rewards": [{"name": "model", "path": "@rm"}]}),
        "step a refers to @rm, which is no other step",
    ),
]


@pytest.mark.parametrize(("recipe", "words"), BROKEN)
def test_a_pipeline_that_does_not_resolve_is_refused_before_any_step(recipe: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(recipe)
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_reference_becomes_the_directory_of_the_step_at_any_depth() -> None:
    pipeline = load_pipeline(
        steps(
            {"name": "rm", "stage": "train-rm"},
            {"name": "r", "stage": "reason", "rewards": [{"name": "model", "path": "@rm"}], "model": "@rm"},
        )
    )
    config = pipeline.steps[1].resolve({"rm": Path("out/rm")}, seed=3)
    settings = config.model_dump(mode="json")
    assert settings["rewards"][0]["params"] == {"path": "out/rm"}
    assert (settings["model"], settings["seed"]) == ("out/rm", 3)


def test_a_step_may_set_a_seed_of_its_own() -> None:
    pipeline = load_pipeline({"seed": 7, **steps(SFT, {"name": "b", "stage": "sft", "seed": 8})})
    assert [step.resolve({"a": Path("a")}, pipeline.seed).seed for step in pipeline.steps] == [7, 8]


EVAL = {"name": "e", "stage": "eval", "tasks": ["arithmetic"]}


def test_outcomes_that_fail_a_pipeline_are_those_of_every_step_that_trains_and_sets_none() -> None:
    own = {"name": "b", "stage": "sft", "fail_on": ["not-measured"]}
    pipeline = load_pipeline({"fail_on": "no-gain", **steps(SFT, own, EVAL)})
    resolved = [step.resolve({}, 0, pipeline.fail_on) for step in pipeline.steps]
    assert [getattr(config, "fail_on", None) for config in resolved] == [["no-gain"], ["not-measured"], None]
    typed = load_pipeline(with_settings(steps(SFT), {"fail_on": ["no-gain", "not-measured"]}))
    assert typed.fail_on == ["no-gain", "not-measured"]
    with pytest.raises(ConfigError, match="unknown value of fail_on: worse"):
        load_pipeline({"fail_on": ["worse"], **steps(SFT)})


@pytest.mark.parametrize(("fail_on", "ok"), [([], True), (["not-measured"], False)])
def test_an_outcome_that_fails_a_step_ends_the_pipeline(
    tiny_model: str, tmp_path: Path, fail_on: list[str], ok: bool
) -> None:
    recipe = two_steps(tiny_model, {"stage": "sft", "model": "@start", "learning_rate": 1e-3})
    outcome = run_pipeline({"fail_on": fail_on, **recipe}, tmp_path / "out")
    assert outcome.ok is ok
    assert list(outcome.runs) == ["start", "then"][: 1 + ok]


def test_an_address_with_an_at_sign_inside_is_no_reference() -> None:
    assert load_pipeline(steps({**SFT, "model": "org@home"})).steps[0].resolve({}, 0).model.reference == "org@home"


def two_steps(tiny_model: str, second: dict[str, Any]) -> dict[str, Any]:
    first = {"name": "start", "stage": "sft", "model": tiny_model, "data": DATA, "max_steps": 1, "learning_rate": 1e-3}
    return {"title": "two steps", **steps(first, {"name": "then", "data": DATA, "max_steps": 1, **second})}


def test_steps_run_in_order_and_each_starts_from_its_reference(tiny_model: str, tmp_path: Path) -> None:
    recipe = two_steps(tiny_model, {"stage": "sft", "model": "@start", "learning_rate": 1e-3})
    outcome = run_pipeline(recipe, tmp_path / "out")
    assert outcome.ok
    assert list(outcome.runs) == ["start", "then"]
    assert read_json(outcome.runs["then"].path / "lineage.json")["parents"] == [str(tmp_path / "out" / "start")]
    assert read_json(tmp_path / "out" / "pipeline.json")["ok"] is True
    assert "two steps" in (tmp_path / "out" / "report.html").read_text()
    command = outcome.runs["then"].config["command"]
    assert command.startswith("rlllm sft seed=0 ")
    assert f"model={tmp_path / 'out' / 'start'}" in command


def test_a_step_that_does_not_learn_ends_the_pipeline(tiny_model: str, tmp_path: Path) -> None:
    recipe = two_steps(tiny_model, {"stage": "sft", "model": "@start", "learning_rate": 0.0})
    recipe["steps"].append({"name": "never", "stage": "sft", "model": "@then", "data": DATA, "max_steps": 1})
    outcome = run_pipeline(recipe, tmp_path / "out")
    assert not outcome.ok
    assert list(outcome.runs) == ["start", "then"]
    assert [reason["code"] for reason in outcome.runs["then"].verdict["reasons"]] == ["weights_unchanged"]
    assert not (tmp_path / "out" / "never").exists()


def test_resuming_keeps_steps_that_are_done(tiny_model: str, tmp_path: Path) -> None:
    recipe = two_steps(tiny_model, {"stage": "sft", "model": "@start", "learning_rate": 1e-3})
    first = run_pipeline(recipe, tmp_path / "out")
    stamps = [(run.path / "model" / "model.safetensors").stat().st_mtime_ns for run in first.runs.values()]
    again = run_pipeline(recipe, tmp_path / "out", resume=True)
    assert again.ok
    assert [(run.path / "model" / "model.safetensors").stat().st_mtime_ns for run in again.runs.values()] == stamps


def test_a_filled_directory_is_not_used_unasked(tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(RunDirectoryError, match="not empty"):
        run_pipeline(two_steps(tiny_model, {"stage": "sft"}), tmp_path)


def test_settings_of_a_pipeline_and_of_its_steps_lie_over_the_recipe() -> None:
    recipe = steps(SFT, {"name": "b", "stage": "sft", "model": "@a", "max_steps": 9})
    changed = load_pipeline(with_settings(recipe, {"seed": 4, "b.max_steps": 2, "b.data.rows": 5}))
    assert changed.seed == 4
    assert [step.settings for step in changed.steps] == [{}, {"model": "@a", "max_steps": 2, "data.rows": 5}]
    with pytest.raises(ConfigError, match="no setting max_steps") as caught:
        with_settings(recipe, {"max_steps": 2})
    assert "b.KEY" in str(caught.value)
