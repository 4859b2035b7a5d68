"""Supervised fine-tuning: pass@1 by an eval reward, and a budget of tokens that survives a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.stages import catalog
from rlllm.tools.data.show import show_data

SMALL: dict[str, Any] = {
    "data": {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4},
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "max_steps": 8,
}


def test_an_eval_reward_measures_the_held_out_problems_of_reason(tiny_model: str, tmp_path: Path) -> None:
    common = {**SMALL, "model": tiny_model, "max_steps": 1, "rollout": {"max_new_tokens": 4}}
    measure = {"rows": 4, "samples": 2}
    sft = rlllm.sft(**common, eval_reward="exact", eval=measure, output_dir=tmp_path / "sft")
    reason = rlllm.reason(
        **{**common, "per_device_train_batch_size": 8}, rewards=["exact"], eval=measure, output_dir=tmp_path / "reason"
    )
    assert sft.ok, sft.verdict
    assert [row["name"] for row in sft.results["measures"]] == ["pass@1", "held-out loss"]
    first, other = (rlllm.core.runs.read_json(run.path / "measured_before.json")[0] for run in (sft, reason))
    assert first["prompts"] == other["prompts"]
    assert first["answers"] == other["answers"]
    assert first["completions"] == other["completions"]


def test_settings_of_sampling_are_refused_where_nothing_is_sampled(tiny_model: str) -> None:
    for settings in ({"rollout": {"temperature": 0.5}}, {"eval": {"samples": 2}}):
        with pytest.raises(ConfigError, match="only with an eval_reward"):
            rlllm.sft(model=tiny_model, **{**SMALL, **settings})


def test_a_hub_that_cannot_be_reached_is_said_before_training(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests run without network: creating the repository fails."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # else the plan refuses
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 20)
    with pytest.raises(ConfigError, match="the Hub cannot be pushed to") as caught:
        rlllm.sft(**SMALL, model=tiny_model, push_to_hub=True, eval={"rows": 0}, output_dir=tmp_path / "run")
    assert "push the folder model" in str(caught.value)


def test_a_budget_of_tokens_ends_a_run_where_it_ends_without_an_interruption(tiny_model: str, tmp_path: Path) -> None:
    common = {**SMALL, "model": tiny_model, "eval": {"rows": 0}}
    free = rlllm.sft(**common, output_dir=tmp_path / "free").metrics()
    budget = int(free[4]["num_tokens"])
    whole = rlllm.sft(**common, max_tokens=budget, output_dir=tmp_path / "whole")
    assert whole.ok, whole.verdict
    assert len(whole.metrics()) == 5
    begun = rlllm.sft(**common, max_tokens=budget, save_steps=2, output_dir=tmp_path / "begun")
    for step in (4, 5):  # as a kill after the third step leaves it
        folder = begun.checkpoints / f"checkpoint-{step}"
        if folder.exists():
            (folder / "manifest.json").unlink()
    again = rlllm.sft(**common, max_tokens=budget, save_steps=2, output_dir=tmp_path / "begun", resume=True)
    assert [row["num_tokens"] for row in again.metrics()] == [row["num_tokens"] for row in whole.metrics()]


DIALOGUES = "".join(
    json.dumps(
        {
            "messages": [
                {"role": "user", "content": f"{number} + 1 = ?"},
                {"role": "assistant", "content": str(number + 1)},
                {"role": "user", "content": "And one more?"},
                {"role": "assistant", "content": str(number + 2), **({"weight": 0} if number == 3 else {})},
            ]
        }
    )
    + "\n"
    for number in range(4)
)


@pytest.mark.parametrize(("turns", "rows", "trained"), [("all", 4, 14), ("last", 4, 8), ("each", 7, 14)])
def test_all_turns_train_unless_one_says_otherwise(
    tiny_model: str, tmp_path: Path, turns: str, rows: int, trained: int
) -> None:
    data = tmp_path / "dialogues.jsonl"
    data.write_text(DIALOGUES, encoding="utf-8")
    run = rlllm.sft(
        model=tiny_model,
        data=str(data),
        turns=turns,
        max_steps=1,
        per_device_train_batch_size=8,
        output_dir=tmp_path / "run",
    )
    assert run.ok, run.verdict
    shown = show_data(str(data), kind="sft", rows=4, model=tiny_model, settings=[("turns", turns)])
    sequences = [sequence for record in shown.records for sequence in record.sequences]
    assert len(sequences) == rows
    assert sum(token.trains for sequence in sequences for token in sequence.tokens) == trained


@pytest.mark.parametrize(
    ("turns", "trained", "line"),
    [
        ("all", 7, "all: 7 of 7 turns of the assistant train, in 4 conversations"),
        ("last", 4, "last: 4 of 7 turns of the assistant train, the last of each of 4 conversations"),
        ("each", 7, "each: 7 of 7 turns of the assistant train, each in a sequence of its own, of 4 conversations"),
    ],
)
def test_the_plan_says_how_many_turns_train(tmp_path: Path, turns: str, trained: int, line: str) -> None:
    data = tmp_path / "dialogues.jsonl"
    data.write_text(DIALOGUES, encoding="utf-8")
    planned = catalog.plan(catalog.resolve_settings("sft", {"data": str(data), "turns": turns}))
    assert ("turns", line) in planned.lines()
    assert planned.to_json()["turns"] == {"setting": turns, "rows": 4, "of": 7, "trained": trained}
    whole = {"data": str(data), "turns": turns, "trainer": {"completion_only_loss": False}}
    lines = catalog.plan(catalog.resolve_settings("sft", whole)).lines()
    assert lines[lines.index(("turns", line)) + 1][1].startswith("completion_only_loss=false")


def test_a_plan_of_single_turns_says_nothing_of_turns_unless_asked() -> None:
    labels = [
        dict(catalog.plan(catalog.resolve_settings("sft", settings)).lines()) for settings in ({}, {"turns": "last"})
    ]
    assert ["turns" in lines for lines in labels] == [False, True]


def test_settings_about_turns_that_cannot_act_are_refused(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="turns=last trains one turn"):
        rlllm.sft(model=tiny_model, **SMALL, turns="last", assistant_only_loss=True)
