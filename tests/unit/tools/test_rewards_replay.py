"""Replaying a run: stored samples under other rewards, with the run's data, its groups and its advantage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlllm
from rlllm.core.errors import ConfigError, DataError, RewardError, RlllmError, RunDirectoryError
from rlllm.core.records import PromptTask
from rlllm.core.runs import Run, append_jsonl, read_json, read_jsonl, write_json
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.tools.rewards_replay import Advantage, advantage_of, rescore, whole_groups

DATA = {"name": "countdown", "rows": 4, "holdout": 0}
REWARDS = """
def target(sample): return float(sample.meta["target"])
def backwards(sample): return -float(sample.completion.endswith("A"))
def none(sample): return None
def raises(sample): return sample.answer.no_such_field
def columns(sample): return len(dict(sample.meta))
def prompt(sample): return float(isinstance(sample.prompt, str))
"""


@pytest.fixture
def rewards(tmp_path: Path) -> str:
    (tmp_path / "rewards.py").write_text(REWARDS)
    return str(tmp_path / "rewards.py")


def stored(tmp_path: Path, *, size: int = 4, steps: int = 3, numbered: bool = True, **settings: Any) -> Run:
    """A run that still trains: every group's first half ends in A and was paid."""
    run = Run(tmp_path / "run")
    run.set_status("running", stage="reason")
    settings = {"data": DATA, "method": "grpo", "rollout": {"group_size": size}} | settings
    write_json(run.path / "config.json", {"stage": "reason", "settings": settings})
    loaded = load(DataConfig.model_validate(DATA), PromptTask)
    write_json(run.path / "lineage.json", {"data": {"hash": loaded.hash}})
    for step in range(1, steps + 1):
        for row in (0, 1):
            task = loaded.train[row]
            paid = [float(place < size / 2) for place in range(size)]
            rows = [
                {
                    "step": step,
                    **({"row": row} if numbered else {}),
                    "prompt": task.prompt,
                    "completion": f"{place} {'A' if reward else 'B'}",
                    "answer": task.answer,
                    "reward": reward,
                    "tokens": 2,
                    "truncated": False,
                }
                for place, reward in enumerate(paid)
            ]
            append_jsonl(run.path / "samples.jsonl", rows)
    return run


def test_a_reward_that_pays_the_other_half_flips_every_sign(tmp_path: Path, rewards: str) -> None:
    run = stored(tmp_path)
    found = rescore(run.path, [f"{rewards}:backwards"], out=tmp_path / "out.jsonl")
    (one,) = found.rewards
    assert (found.samples, found.groups, found.left_out, found.notes) == (24, 6, 0, [])
    assert one["signs"]["flipped"] == 1.0
    assert one["rank_correlation"] == pytest.approx(-1.0)
    assert one["change"]["estimate"] == pytest.approx(-1.0)
    assert one["groups"] == {"count": 6, "flat": {"before": 0, "after": 0}, "become_flat": 0, "become_mixed": 0}
    assert len(one["most_changed"]) == 5
    rows = list(read_jsonl(tmp_path / "out.jsonl"))
    assert len(rows) == 24
    assert rows[0]["replayed"][f"{rewards}:backwards"]["reward"] == -1.0
    assert json.dumps(found.to_json())


def test_rewards_read_the_columns_of_the_row_that_was_sampled(tmp_path: Path, rewards: str) -> None:
    run = stored(tmp_path)
    (one,) = rescore(run.path, [f"{rewards}:target"]).rewards
    targets = [task.meta["target"] for task in load(DataConfig.model_validate(DATA), PromptTask).train[:2]]
    assert one["mean"]["after"] == pytest.approx(np.mean(targets))
    assert one["groups"]["become_flat"] == 1.0
    assert one["signs"]["silenced"] == 1.0


def test_a_reward_that_cannot_judge_leaves_nothing_to_learn_and_no_zero(tmp_path: Path, rewards: str) -> None:
    (one,) = rescore(stored(tmp_path).path, [f"{rewards}:none"]).rewards
    assert one["judged"] == {"before": 24, "after": 0}
    assert one["mean"]["after"] is None
    assert one["change"] is None
    assert one["confusion"]["pass"] == {"pass": 0, "fail": 0, "none": 12}


def test_a_reward_that_raises_is_named(tmp_path: Path, rewards: str) -> None:
    with pytest.raises(RewardError, match="the reward raises raised AttributeError"):
        rescore(stored(tmp_path).path, [f"{rewards}:raises"])


def test_an_older_run_is_replayed_by_rewards_that_read_no_columns_and_refused_by_others(
    tmp_path: Path, rewards: str
) -> None:
    run = stored(tmp_path, numbered=False)
    found = rescore(run.path, [f"{rewards}:backwards"])
    assert found.rewards[0]["signs"]["flipped"] == 1.0
    assert "older than replay" in found.notes[0]
    for name in ("target", "columns"):
        with pytest.raises(ConfigError, match="reads columns of the data"):
            rescore(run.path, [f"{rewards}:{name}"])


def test_data_that_changed_are_never_taken_for_those_of_the_run(tmp_path: Path, rewards: str) -> None:
    run = stored(tmp_path)
    write_json(run.path / "lineage.json", {"data": {"hash": "another"}})
    with pytest.raises(ConfigError, match="not those the run trained on any more"):
        rescore(run.path, [f"{rewards}:target"])
    assert rescore(run.path, [f"{rewards}:backwards"]).notes


def test_data_that_are_gone_are_said_to_be(tmp_path: Path, rewards: str) -> None:
    run = stored(tmp_path, data={"name": str(tmp_path / "gone.jsonl")})
    with pytest.raises(ConfigError, match="cannot be read again"):
        rescore(run.path, [f"{rewards}:target"])


def test_what_an_environment_gave_is_read_from_the_sample(tmp_path: Path) -> None:
    run = stored(tmp_path)
    rows = [{**row, "environment_reward": float(index)} for index, row in enumerate(run.samples())]
    (run.path / "samples.jsonl").unlink()
    append_jsonl(run.path / "samples.jsonl", rows)
    assert rescore(run.path, ["environment"]).rewards[0]["mean"]["after"] == pytest.approx(11.5)


def test_the_cut_off_end_of_a_killed_run_is_left_out(tmp_path: Path, rewards: str) -> None:
    run = stored(tmp_path)
    path = run.path / "samples.jsonl"
    path.write_text(path.read_text()[:-120])
    found = rescore(run.path, [f"{rewards}:backwards"])
    assert (found.groups, found.samples, found.left_out) == (5, 20, 3)


def test_a_recipe_scores_its_rewards_together(tmp_path: Path, rewards: str) -> None:
    recipe = tmp_path / "new.yaml"
    recipe.write_text(f"rewards:\n  - {rewards}:backwards\n  - {{name: format, weight: 0.5}}\n")
    (one,) = rescore(stored(tmp_path).path, [str(recipe)]).rewards
    assert set(one["most_changed"][0]["replayed"]["rewards"]) == {"backwards", "format"}


def test_several_rewards_are_replayed_side_by_side(tmp_path: Path, rewards: str) -> None:
    found = rescore(stored(tmp_path).path, [f"{rewards}:backwards", {"name": "length", "budget": 1}])
    assert [one["name"] for one in found.rewards] == [f"{rewards}:backwards", "length, budget=1"]
    assert set(found.rows[0]["replayed"]) == {one["name"] for one in found.rewards}


def wrong(name: str, tmp_path: Path, rewards: str) -> list[Any]:
    run = stored(tmp_path)
    samples = run.path / "samples.jsonl"
    if name == "no samples":
        samples.unlink()
    elif name == "a line is no JSON":
        samples.write_text("{oops\n" + samples.read_text())
    elif name == "a line lacks the completion":
        append_jsonl(samples, [{"step": 9, "prompt": "p", "reward": 1.0}])
    elif name == "a line is a list":
        samples.write_text("[]\n")
    elif name == "nothing is whole":
        samples.write_text("".join(samples.read_text(encoding="utf-8").splitlines(keepends=True)[:3]))
    known = {"unknown reward": ["exactt"], "none named": [], "only weight 0": [{"name": "exact", "weight": 0}]}
    return [run.path, known.get(name, [f"{rewards}:backwards"])]


WRONG: list[tuple[str, type[RlllmError], str]] = [
    ("no samples", RunDirectoryError, "stored no completions"),
    ("a line is no JSON", DataError, "line 1 is no JSON"),
    ("a line lacks the completion", DataError, "line 25 of samples.jsonl has no completion"),
    ("a line is a list", DataError, "in line 1 it is \\[\\], and no object"),
    ("nothing is whole", RunDirectoryError, "one whole group"),
    ("unknown reward", ConfigError, "unknown reward: exactt"),
    ("none named", ConfigError, "no reward to replay"),
    ("only weight 0", ConfigError, "every reward has weight 0"),
]


@pytest.mark.parametrize(("name", "error", "text"), WRONG, ids=[case[0] for case in WRONG])
def test_what_cannot_be_replayed_is_said(
    name: str, error: type[RlllmError], text: str, tmp_path: Path, rewards: str
) -> None:
    run, given = wrong(name, tmp_path, rewards)
    with pytest.raises(error, match=text):
        rescore(run, given)


def test_an_output_file_is_never_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="the output file exists"):
        rescore(stored(tmp_path).path, ["format"], out=out)
    assert out.read_text() == "mine"
    with pytest.raises(ConfigError, match="cannot write there"):
        rescore(tmp_path / "run", ["format"], out=out / "below.jsonl")


CREDITS: list[tuple[dict[str, Any], Advantage, int]] = [
    ({}, Advantage(), 0),
    ({"method": "grpo", "trainer": {"scale_rewards": "none"}}, Advantage("group", "none"), 0),
    ({"method": "rloo"}, Advantage("rloo", "group"), 0),
    ({"method": "grpo", "advantage": {"name": "rloo"}}, Advantage("rloo", "group"), 0),
    ({"method": "ppo"}, Advantage(), 1),
    ({"method": "no-such-method"}, Advantage(), 1),
    ({"trainer": {"multi_objective_aggregation": "normalize_then_sum"}}, Advantage(), 1),
]


@pytest.mark.parametrize(("settings", "expected", "notes"), CREDITS)
def test_advantages_are_those_of_the_runs_credit_where_rewards_decide_them(
    settings: dict[str, Any], expected: Advantage, notes: int
) -> None:
    advantage, said = advantage_of(settings)
    assert (advantage.name, len(said)) == (expected.name, notes)
    if "scale_rewards" in settings.get("trainer", {}):
        assert advantage == expected


ADVANTAGES = [
    (Advantage(), [1.0, 0.0, 0.0, 0.0], [0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001]),
    (Advantage(scale="none"), [1.0, 0.0, 0.0, 0.0], [0.75, -0.25, -0.25, -0.25]),
    (Advantage("rloo"), [1.0, 0.0, 0.0, np.nan], [1.0, -0.5, -0.5, 0.0]),
    (Advantage(), [0.1, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0]),
    (Advantage(), [np.nan] * 4, [0.0, 0.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("advantage", "rewards", "expected"), ADVANTAGES)
def test_advantages_of_a_group(advantage: Advantage, rewards: list[float], expected: list[float]) -> None:
    assert advantage(np.array(rewards), 4) == pytest.approx(expected, abs=1e-6)


def numbered(*groups: tuple[int, str, int]) -> list[dict[str, Any]]:
    return [{"step": step, "prompt": prompt} for step, prompt, count in groups for _ in range(count)]


SHAPES = [
    ("two prompts", numbered((1, "a", 2), (1, "b", 2)), 2, [2, 2]),
    ("one prompt twice in a row", numbered((1, "a", 4)), 2, [2, 2]),
    ("a group that is not whole", numbered((1, "a", 2), (1, "b", 1)), 2, [2]),
    (
        "one completion of each prompt competes within its step",
        numbered((1, "a", 1), (1, "b", 1), (2, "a", 1)),
        1,
        [2, 1],
    ),
    ("a size nobody knows", numbered((1, "a", 3), (2, "a", 2)), None, [3, 2]),
]


@pytest.mark.parametrize(("case", "rows", "size", "expected"), SHAPES, ids=[case[0] for case in SHAPES])
def test_rows_are_cut_into_the_groups_that_compete(case: str, rows: Any, size: int | None, expected: list[int]) -> None:
    assert [len(group) for group in whole_groups(rows, size)] == expected


def test_a_real_run_is_replayed_to_its_own_scores_and_advantages(tiny_model: str, tmp_path: Path) -> None:
    run = rlllm.reason(
        model=tiny_model,
        data={"name": "countdown", "rows": 8, "holdout": 0},
        rewards=[{"name": "length", "budget": 1}, {"name": "countdown", "weight": 0}],
        max_steps=2,
        max_completion_length=6,
        num_generations=4,
        per_device_train_batch_size=8,
        output_dir=tmp_path / "real",
    )
    found = rescore(run.path, [{"name": "length", "budget": 1}, "countdown"])
    same, other = found.rewards
    assert found.notes == []
    assert same["signs"]["same"] == 1.0
    for row in found.rows:
        assert row["replayed"][same["name"]]["advantage"] == pytest.approx(row["advantage"], abs=1e-4)
    assert other["judged"]["after"] == 16
    diagnostics = read_json(run.path / "verdict.json")["diagnostics"]
    assert (diagnostics["alarms"], diagnostics["gain_decomposition"]) == ([], [])
