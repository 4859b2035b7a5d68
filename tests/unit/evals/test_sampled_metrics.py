"""The metric `pass` and the metric `gold`, run for real on a tiny model: their values, items and what stands beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import rlllm
from rlllm.core.runs import read_jsonl

REWARDS = """
def vowel(sample): return float(any(letter in "aeiou" for letter in sample.completion))
def brief(sample): return -float(len(sample.completion))
"""


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rewards") / "rewards.py"
    path.write_text(REWARDS)
    return path


def test_sampled_completions_come_with_curves_lengths_and_what_they_look_like(rewards: Path, tmp_path: Path) -> None:
    run = rlllm.evaluate(
        model="nano", output_dir=tmp_path / "run", rows=4, samples=4, max_new_tokens=24, rewards=f"{rewards}:vowel"
    )
    task, items = run.results["tasks"]["arithmetic"], list(read_jsonl(run.path / "items.jsonl"))
    assert [row["k"] for row in task["curve"]] == [1, 2, 4]
    for row, name in zip(task["curve"], ("pass@1", None, "pass@4"), strict=True):
        assert row["low"] <= row["estimate"] <= row["high"]
        assert name is None or row["estimate"] == pytest.approx(task["values"][name]["estimate"])
    assert task["curve_all_pass"][0]["estimate"] == pytest.approx(task["curve"][0]["estimate"])
    assert set(task["response_rates"]) == {"refused", "one marked answer", "truncated"}
    assert {"distinct-1", "self-similarity"} <= set(task["diversity"])
    assert sum(stratum["completions"] for stratum in task["accuracy_by_length"]) == 16
    for item in items:
        assert {len(item[name]) for name in ("completions", "tokens", "truncated", "extracted", "scores")} == {4}
    tokens = [count for item in items for count in item["tokens"]]
    assert task["mean_tokens"] == pytest.approx(sum(tokens) / len(tokens))


def test_nano_marks_answers_so_that_its_majority_is_a_value_with_a_calibration(tmp_path: Path) -> None:
    run = rlllm.evaluate(model="nano", output_dir=tmp_path / "run", rows=4, samples=4, max_new_tokens=24)
    task = run.results["tasks"]["arithmetic"]
    assert list(task["values"]) == ["pass@1", "avg@4", "pass@4", "maj@4"]
    assert 0 <= task["calibration"]["low"] <= task["calibration"]["estimate"] <= task["calibration"]["high"] <= 1
    json.dumps(task, allow_nan=False)


def test_a_win_rate_against_a_baseline_has_a_length_controlled_one_beside_it(rewards: Path, tmp_path: Path) -> None:
    run = rlllm.evaluate(
        model="nano",
        baseline="nano",
        output_dir=tmp_path / "run",
        tasks="reward-win-rate",
        rows=4,
        samples=2,
        max_new_tokens=8,
        rewards=f"{rewards}:brief",
    )
    values = next(iter(run.results["tasks"].values()))["values"]
    plain, controlled = (value for name, value in values.items() if "win rate" in name)
    assert 0 < controlled["low"] < controlled["estimate"] < controlled["high"] < 1
    assert 0 <= plain["estimate"] <= 1
