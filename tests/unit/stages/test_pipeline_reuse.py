"""Which steps of a pipeline are taken from before, and which run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm import run_pipeline
from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.runs import RunOptions, read_json
from rlllm.stages.pipeline.run import forecast
from rlllm.stages.pipeline.settings import load_pipeline


@pytest.fixture
def recipe(tiny_model: str, tmp_path: Path) -> dict[str, Any]:
    """`b` starts from `a`; `c` has rows of its own."""
    rows = [{"prompt": f"Say {number}.", "completion": str(number)} for number in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = {"stage": "sft", "max_steps": 1, "learning_rate": 1e-3}
    made = {"name": "arithmetic", "rows": 8, "holdout": 0}
    steps = [
        {"name": "a", "model": tiny_model, "data": made, **train},
        {"name": "b", "model": "@a", "data": made, **train},
        {"name": "c", "model": tiny_model, "data": {"name": str(tmp_path / "rows.jsonl"), "holdout": 0}, **train},
    ]
    return {"steps": steps}


def made(recipe: dict[str, Any], folder: Path, **more: Any) -> dict[str, str]:
    """What was done with each step."""
    done = run_pipeline(recipe, folder, **more)
    assert read_json(folder / "pipeline.json")["made"].keys() == done.decisions.keys()
    return {name: decision.what for name, decision in done.decisions.items()}


def test_changing_one_stage_runs_only_what_depends_on_it_again(recipe: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert made(recipe, out) == {"a": "run", "b": "run", "c": "run"}
    assert made(recipe, out, resume=True) == {"a": "taken", "b": "taken", "c": "taken"}
    recipe["steps"][1]["learning_rate"] = 1e-4
    pipeline = load_pipeline(recipe)
    expected = forecast(pipeline, out, RunOptions(resume=True))
    assert made(recipe, out, resume=True) == {"a": "taken", "b": "run again", "c": "taken"}
    assert expected["b"].why == "changed: trainer.learning_rate 0.001 -> 0.0001"
    assert (out / "b.1" / "model").is_dir()
    recipe["steps"][0]["seed"] = 5
    assert forecast(load_pipeline(recipe), out, RunOptions(resume=True))["b"].why == "unless a makes the same as before"
    assert made(recipe, out, resume=True) == {"a": "run again", "b": "run again", "c": "taken"}
    assert "what a made" in read_json(out / "pipeline.json")["made"]["b"]["why"]


def test_a_step_is_taken_by_content(recipe: dict[str, Any], tmp_path: Path) -> None:
    """A step that makes the same again changes nothing behind it; rows that changed in a file of the same name do."""
    out = tmp_path / "out"
    made(recipe, out)
    (out / "a").rename(tmp_path / "elsewhere")
    assert made(recipe, out, resume=True) == {"a": "run", "b": "taken", "c": "taken"}
    rows = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "rows.jsonl").write_text(rows.replace("Say 3.", "Say three."))
    assert made(recipe, out, resume=True) == {"a": "taken", "b": "taken", "c": "run again"}
    assert read_json(out / "pipeline.json")["made"]["c"]["why"] == "changed: data"


def test_a_pipeline_begins_with_a_step_or_runs_one_only(recipe: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunDirectoryError, match="the step a is not done, and b needs it"):
        run_pipeline(recipe, out, only="b")
    with pytest.raises(ConfigError, match="unknown step: d"):
        run_pipeline(recipe, out, start="d")
    assert made(recipe, out, only="a") == {"a": "run"}
    assert made(recipe, out, only="b") == {"a": "taken", "b": "run"}
    assert made(recipe, out, start="b") == {"a": "taken", "b": "run again", "c": "run"}


def test_code_that_changed_is_a_reason_unless_it_is_accepted(recipe: dict[str, Any], tmp_path: Path) -> None:
    out, resume = tmp_path / "out", RunOptions(resume=True)
    made(recipe, out, only="a")
    record = read_json(out / "steps.json")
    (out / "steps.json").write_text(json.dumps({"a": {**record["a"], "the code of rlllm": "earlier"}}))
    pipeline = load_pipeline(recipe)
    assert forecast(pipeline, out, resume)["a"].why == "changed: the code of rlllm"
    accepted = forecast(pipeline, out, RunOptions(resume=True, accept_change=("code",)))["a"]
    assert (accepted.what, accepted.why) == (
        "taken",
        "though the code of rlllm changed, as --accept-change allows",
    )
