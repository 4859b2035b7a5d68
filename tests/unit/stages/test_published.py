"""Published results beside those of a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm import run_pipeline
from rlllm.core.errors import ConfigError
from rlllm.core.runs import Run, read_json, write_json
from rlllm.evals.statistics.intervals import wilson
from rlllm.stages.pipeline.settings import load_pipeline, with_settings
from rlllm.stages.published import PublishedSpec, compare_published, sentences

GSM8K = {"name": "openai/gsm8k", "subset": "main", "split": "test"}
QWEN = "Qwen/Qwen2.5-0.5B-Instruct"


def evaluated(path: Path, solved: int, problems: int = 1319, **changed: Any) -> Run:
    settings = {"model": QWEN, "data": GSM8K, "tasks": [{"data": None}], "sampling": {"temperature": 0}, **changed}
    write_json(path / "config.json", {"stage": "eval", "settings": settings})
    values = {"pass@1": wilson(solved, problems).to_json()}
    write_json(path / "results.json", {"tasks": {"gsm8k": {"values": values}}})
    return Run(path)


def test_what_ships_says_who_measured_what_and_where_it_stands() -> None:
    published = PublishedSpec(name="gsm8k").read()
    assert (published.model, published.data, published.problems) == (QWEN, GSM8K, 1319)
    found = {row.name: (row.before and row.before.value, row.after and row.after.value) for row in published.results}
    assert found == {
        "verl, PPO": (0.496, 0.567),
        "verl, GRPO with LoRA": (0.496, 0.543),
        "slime, GRPO": (0.4359, 0.5019),
    }
    assert all(row.url.startswith("https://github.com/") and row.source for row in published.results)


def test_each_published_rate_is_consistent_with_mine_or_not(tmp_path: Path) -> None:
    runs = {"before": evaluated(tmp_path / "b", 575), "after": evaluated(tmp_path / "a", 690)}
    rows = compare_published(PublishedSpec(name="gsm8k"), runs)
    answers = {(row["name"], row["when"]): row["answer"] for row in rows}
    assert answers == {
        ("verl, PPO", "before"): "not consistent",
        ("verl, GRPO with LoRA", "before"): "not consistent",
        ("slime, GRPO", "before"): "consistent",
        ("verl, PPO", "after"): "not consistent",
        ("verl, GRPO with LoRA", "after"): "consistent",
        ("slime, GRPO", "after"): "consistent",
    }
    slime = rows[-1]
    assert slime["difference"]["estimate"] == pytest.approx(690 / 1319 - 0.5019)
    assert slime["published"]["n"] == 1319
    assert slime["text"].startswith(
        "chance in 1,319 problems explains it; a true difference of 0.054 would show in 4 of 5"
    )
    words = sentences(rows)
    assert words[-2].startswith(
        "slime, GRPO (slime, pull request 1835), after training: 0.502 [0.475, 0.529] published"
    )
    assert words[-1].startswith("Consistent: the 95 % interval of the difference holds 0")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": "nano"}, "another model: nano, not Qwen/Qwen2.5-0.5B-Instruct"),
        ({"data": {**GSM8K, "split": "train"}}, "other problems: openai/gsm8k, not GSM8K, its 1,319 test problems"),
        ({"tasks": [{"data": {"name": "arithmetic"}}]}, "other problems: arithmetic"),
        ({"sampling": {"temperature": 1.0}}, "sampled at temperature 1, not greedily"),
    ],
)
def test_rates_of_other_things_are_not_compared(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    runs = {"before": evaluated(tmp_path / "b", 575, **changed), "after": evaluated(tmp_path / "a", 690, **changed)}
    rows = compare_published(PublishedSpec(name="gsm8k"), runs)
    assert len(rows) == 6
    assert {row["answer"] for row in rows} == {"not comparable"}
    assert all(words in row["text"] for row in rows)
    assert "difference" not in rows[0]
    assert len(sentences(rows)) == 6


def test_fewer_problems_are_said(tmp_path: Path) -> None:
    runs = {"before": evaluated(tmp_path / "b", 50, 100), "after": evaluated(tmp_path / "a", 50, 100)}
    assert "100 problems here and 1,319 there" in compare_published(PublishedSpec(name="gsm8k"), runs)[0]["text"]


EVAL = {
    "stage": "eval",
    "tasks": ["arithmetic"],
    "rows": 4,
    "samples": 1,
    "sampling": {"temperature": 0, "max_new_tokens": 4},
}
DATA = {"name": "arithmetic", "rows": 8, "holdout": 8}


def test_a_pipeline_sets_its_published_results_beside_its_own(tiny_model: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    result = {"name": "they", "after": {"value": 0.9, "note": "with luck"}, "source": "a page", "url": "https://x.org"}
    content = {"task": "sums", "model": tiny_model, "data": {"name": "arithmetic"}, "problems": 50, "results": [result]}
    file.write_text(json.dumps(content))
    recipe = {
        "model": tiny_model,
        "data": DATA,
        "test": DATA,
        "published": str(file),
        "steps": [
            {"name": "before", **EVAL, "tasks": ["pass"]},
            {"name": "sft", "stage": "sft", "max_steps": 1, "learning_rate": 1e-3, "eval": {"rows": 0}},
            {"name": "after", **EVAL, "tasks": ["pass"], "model": "@sft"},
        ],
    }
    outcome = run_pipeline(recipe, tmp_path / "out")
    assert outcome.ok
    (row,) = outcome.published
    assert (row["name"], row["when"], row["answer"]) == ("they", "after", "not consistent")
    assert read_json(tmp_path / "out" / "pipeline.json")["published"] == [row]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "They (a page)" in page or "they (a page), after training" in page
    assert f"model={tiny_model}" in outcome.runs["sft"].config["command"]
    assert outcome.runs["before"].config["settings"]["data"]["name"] == "arithmetic"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"published": "gsm9k"}, "unknown published results: gsm9k\nhint: did you mean gsm8k?"),
    ({"published": "nowhere.json"}, "no such file of published results"),
    ({"published": {"name": "gsm8k", "after": "sft"}}, "unknown step that evaluates: sft\nexists: after, before"),
]


@pytest.mark.parametrize(("changed", "words"), REFUSED)
def test_published_results_that_cannot_be_compared_with_are_refused_before_any_step(
    changed: dict[str, Any], words: str
) -> None:
    steps = [{"name": "before", **EVAL}, {"name": "sft", "stage": "sft"}, {"name": "after", **EVAL}]
    with pytest.raises(ConfigError) as caught:
        load_pipeline({"steps": steps, **changed})
    assert words in str(caught.value)


def test_a_file_that_says_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"task": "x"}')
    with pytest.raises(ConfigError, match="model: field required"):
        PublishedSpec(name=str(path)).read()
    path.write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        PublishedSpec(name=str(path)).read()


def test_model_and_data_of_a_pipeline_are_those_of_each_step_that_names_none() -> None:
    recipe = {
        "model": "org/one",
        "data": "arithmetic#5",
        "test": "arithmetic#7",
        "steps": [
            {"name": "e", "stage": "eval"},
            {"name": "s", "stage": "sft"},
            {"name": "own", "stage": "sft", "model": "@s", "data": "shapes"},
            {"name": "part", "stage": "sft", "data.level": 2},
        ],
    }
    pipeline = load_pipeline(with_settings(recipe, {"model": "org/two"}))
    places = {name: Path(name) for name in ("e", "s", "own")}
    resolved = [pipeline.resolve(step, places) for step in pipeline.steps]
    assert [config.model.name for config in resolved] == ["org/two", "org/two", "s", "org/two"]
    data = [config.model_dump()["data"] for config in resolved]
    assert [(part["name"], part["rows"], part["level"]) for part in data] == [
        ("arithmetic", 7, None),
        ("arithmetic", 5, None),
        ("shapes", None, None),
        ("arithmetic", 5, 2),
    ]
    assert [name for name, _ in pipeline.plannable()] == ["e", "s", "part"]
