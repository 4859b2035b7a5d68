"""The generative reward model, end to end on a tiny model, and the data it can be started with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PreferencePair, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.parsing.judge_prompts import read_verdict, well_formed
from rlllm.training.trainers.generative_rm import questions

WRITES = """
def letters(sample): return float(len(set(sample.completion)))
"""


@pytest.fixture
def settings(tiny_model: str, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "rewards.py").write_text(WRITES)
    return {
        "model": tiny_model,
        "method": "generative",
        "data": {"name": "arithmetic", "level": 1, "rows": 8, "holdout": 3},
        "rewards": ["verdict", "verdict-form", {"name": f"{tmp_path / 'rewards.py'}:letters", "weight": 0.01}],
        "max_new_tokens": 6,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "max_steps": 2,
        "eval": {"rows": 3},
        "output_dir": tmp_path / "run",
    }


def test_a_judge_is_trained_by_the_loop_on_both_orders_and_measured_before_and_after(settings: dict[str, Any]) -> None:
    run = rlllm.train_rm(**settings)
    assert run.ok, run.verdict
    names = [row["name"] for row in run.results["measures"]]
    assert names == [
        "swap-consistent accuracy",
        "verdict accuracy",
        "consistency",
        "share of A",
        "readable verdicts",
    ]
    assert all(row["after"]["n"] == 3 for row in run.results["measures"])
    rows = list(run.samples())
    assert {row["answer"] for row in rows} <= {"A", "B"}
    assert all(row["prompt"].startswith("Which answer is better?") for row in rows)
    assert rows[0]["rewards"]["verdict"]["value"] == 0.0
    assert run.verdict["diagnostics"]["pairs"] == 8


def test_a_judge_that_never_writes_a_verdict_is_no_success(settings: dict[str, Any]) -> None:
    run = rlllm.train_rm(**settings | {"rewards": ["verdict"]})
    assert run.verdict["reasons"][0]["code"] == "constant_reward"


def test_pairs_too_long_for_the_model_are_left_out_and_counted(settings: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"prompt": "1 + 1?", "chosen": "2" * length, "rejected": "3"} for length in (1, 600, 2, 3)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    heard: list[str] = []

    class Ear:
        def __getattr__(self, name: str) -> Any:
            return (lambda text: heard.append(text)) if name == "note" else lambda *_: None

    rlllm.train_rm(**settings | {"data": str(tmp_path / "pairs.jsonl")}, progress=Ear())
    cut = ("warning: every completion", "warning: truncation")  # few tokens are sampled
    notes = [text for text in heard if not text.startswith(cut)]
    assert notes == ["1 of 4 pairs are left out: longer than 506 tokens as a question"]


def test_no_pair_that_fits_is_a_data_error(settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="none of 8 pairs fits the model's context"):
        rlllm.train_rm(**settings | {"max_new_tokens": 500, "eval": {"rows": 0}})


def test_a_rubric_file_that_is_not_there_fails_at_plan_time(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the rubric file cannot be read"):
        rlllm.train_rm(**settings | {"rubric": "nowhere.md"})


def test_every_pair_makes_two_questions_and_identical_sides_make_none() -> None:
    tasks = questions([PreferencePair("q", "a", "b"), PreferencePair("q", "a", "a")], "Rhyme.")
    assert [task.answer for task in tasks] == ["A", "B"]
    assert all("Rhyme." in str(task.prompt) for task in tasks)


def test_the_starting_data_show_the_form_with_the_pairs_own_label() -> None:
    loaded = load(DataConfig(name="verdicts", level=1, rows=40, holdout=10), Conversation)
    assert len(loaded.train) == 40
    assert all(well_formed(row.completion) for row in loaded.train)
    assert Counter(read_verdict(row.completion) for row in loaded.train) == {"A": 20, "B": 20}
    assert all(f"\nVerdict: {row.meta['answer']}" in row.completion for row in loaded.train)
    assert "A ends in " in loaded.train[0].completion


def test_the_starting_data_are_prompts_for_the_loop_as_well() -> None:
    loaded = load(DataConfig(name="verdicts:lists", rows=7, holdout=0), PromptTask)
    assert [task.answer for task in loaded.train] == ["A", "B", "A", "B", "A", "B", "A"]
    assert loaded.rewards == ("verdict",)
    with pytest.raises(DataError, match="verdicts makes no PreferencePair records"):
        load(DataConfig(name="verdicts", rows=4), PreferencePair)


def test_a_judge_can_be_evaluated_like_any_model(tiny_model: str, tmp_path: Path) -> None:
    run = rlllm.evaluate(
        model=tiny_model,
        tasks=["judge"],
        data={"name": "arithmetic", "level": 1},
        rows=3,
        max_new_tokens=6,
        output_dir=tmp_path / "eval",
    )
    (task,) = run.results["tasks"].values()
    assert (task["items"], task["left out"]) == (3, 0)
    assert set(task["values"]) >= {"swap-consistent accuracy", "consistency", "share of A"}
