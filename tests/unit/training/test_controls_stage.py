"""Controls and seeds of `rlllm reason`: whole runs beside the recipe's own, and what is concluded from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError, UnknownNameError
from rlllm.core.runs import Run, read_json
from rlllm.rewards.config import RewardSpec
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.control_rewards import CONTROLS
from rlllm.training.controls import child_plan, hit_rate
from rlllm.training.plan import ExperimentPlan

REWARD = """
def vowels(sample):
    vowels = sum(letter in "aeiou" for letter in sample.completion)
    return vowels + sum(map(ord, sample.completion)) % 97 / 970  # no two completions of a random model are worth the same
"""
SETTINGS: dict[str, Any] = {
    "data": {"name": "arithmetic", "rows": 16, "holdout": 4},
    "rollout": {"group_size": 4, "max_new_tokens": 5},
    "eval": {"rows": 4, "samples": 2},
    "max_steps": 1,
    "learning_rate": 1e-2,
    "per_device_train_batch_size": 4,
    "save_strategy": "no",
}
OF_A_REWARD = [name for name in CONTROLS if name != "random-thought"]
"""Controls of any reward; the other one is of a method that pays thoughts."""


@pytest.fixture
def settings(tiny_model: str, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "rewards.py").write_text(REWARD)
    vowels = {"name": f"{tmp_path / 'rewards.py'}:vowels", "weight": 2.0}
    return {**SETTINGS, "model": tiny_model, "rewards": [vowels, {"name": "eos", "weight": 0.5}]}


@pytest.fixture
def planned(settings: dict[str, Any]) -> Callable[..., Any]:
    return lambda **changed: plan(resolve_settings("reason", {**settings, **changed}))


def weights(specs: list[RewardSpec]) -> list[tuple[str, float]]:
    return [(spec.name.rpartition(":")[2], spec.weight) for spec in specs]


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ("random", [("vowels", 0.0), ("eos", 0.0), ("random", 2.0)]),
        ("format", [("vowels", 0.0), ("eos", 0.0), ("format", 2.0)]),
        ("flipped", [("vowels", 0.0), ("flipped", 2.0), ("eos", 0.5)]),
        ("frozen", [("vowels", 2.0), ("eos", 0.5)]),
    ],
)
def test_in_every_control_the_true_reward_stays_first_and_decides_what_passes(
    planned: Callable[..., Any], control: str, expected: list[tuple[str, float]]
) -> None:
    child = child_plan(planned(controls=[control]), control, 3, Path("part"), 0.25)
    assert weights(child.config.rewards) == expected
    assert child.settings["reward_weights"] == [weight for _, weight in expected]
    assert child.config.seed == 3
    assert child.settings["learning_rate"] == (0.0 if control == "frozen" else 1e-2)
    assert child.settings["max_steps"] == 1


def test_a_format_reward_of_the_recipe_keeps_its_weight_as_a_control() -> None:
    specs = [RewardSpec(name="exact"), RewardSpec(name="format", weight=0.1), RewardSpec(name="eos")]
    made = CONTROLS["format"].rewards(specs, 0.5, 0)
    assert weights(made) == [("exact", 0.0), ("format", 0.1), ("eos", 0.0)]


def test_a_recipe_that_trains_on_format_alone_is_still_compared_with_format() -> None:
    made = CONTROLS["format"].rewards([RewardSpec(name="format")], 0.5, 0)
    assert weights(made) == [("format", 0.0), ("format", 1.0)]


def test_the_parts_are_named_by_control_and_seed(planned: Callable[..., Any]) -> None:
    assert planned(controls="random, frozen", seeds=2, seed=5).runs == (
        *("true-5", "random-5", "frozen-5"),
        *("true-6", "random-6", "frozen-6"),
    )
    assert planned(seeds=2).runs == ("seed-0", "seed-1")
    assert not isinstance(planned(), ExperimentPlan)


WRONG = [
    ({"controls": ["rndom"]}, UnknownNameError, "unknown control: rndom"),
    ({"controls": "random,random"}, ConfigError, "named twice"),
    ({"controls": ["random"], "eval": {"rows": 0}}, ConfigError, "there are none"),
    ({"seeds": 2, "data": {"name": "arithmetic", "rows": 16, "holdout": 0}}, ConfigError, "there are none"),
    (
        {"controls": ["random"], "rewards": [{"name": "exact", "weight": 0}, "format"]},
        ConfigError,
        "decides what passes",
    ),
    ({"controls": ["random"], "method": "constrained"}, ConfigError, "cost"),
]


@pytest.mark.parametrize(("changed", "error", "words"), WRONG)
def test_what_cannot_be_compared_is_refused_before_anything_is_loaded(
    settings: dict[str, Any], tmp_path: Path, changed: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        rlllm.reason(output_dir=tmp_path / "run", **{**settings, **changed})
    assert not (tmp_path / "run").exists()


def test_every_control_is_a_whole_run_and_the_parent_says_what_the_true_reward_adds(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    run = rlllm.reason(output_dir=tmp_path / "run", controls=OF_A_REWARD, **settings)
    assert run.ok, run.verdict
    parts = {name: Run(run.path / f"{name}-0") for name in ("true", *OF_A_REWARD)}
    assert {name: part.ok for name, part in parts.items()} == dict.fromkeys(parts, True)
    assert parts["frozen"].verdict["diagnostics"]["weights_changed"] is None, (
        "a control is not blamed for standing still"
    )
    assert parts["true"].verdict["diagnostics"]["weights_changed"] is True

    before = [read_json(part.path / "measured_before.json") for part in parts.values()]
    assert all(one == before[0] for one in before), "all start alike, judged by the same reward"
    after = read_json(parts["frozen"].path / "measured_after.json")
    assert after[0]["completions"] != before[0][0]["completions"], (
        "what stood still is sampled afresh, to show the noise"
    )
    p = parts["random"].config["settings"]["rewards"][-1]["params"]["p"]
    assert p == hit_rate(parts["true"])

    rows = run.results["controls"]
    assert [row["control"] for row in rows] == OF_A_REWARD
    for row in rows:
        assert row["added"]["estimate"] == pytest.approx(row["gain"] - row["control_gain"])
        assert row["text"].startswith("the true reward adds ")
    assert [row["name"] for row in run.results["measures"]] == [f"pass@1, {name}" for name in ("true", *OF_A_REWARD)]
    assert {row["answer"] for row in rows} <= {"adds", "no gain", "cannot tell"}
    idle = [row["phrase"] for row in rows if row["answer"] == "no gain"]
    warned = [reason for reason in run.verdict["reasons"] if reason["code"] == "no_gain_over_control"]
    assert bool(idle) == bool(warned)
    assert all(not reason["fatal"] and all(phrase in reason["text"] for phrase in idle) for reason in warned)
    assert run.model.resolve() == parts["true"].model.resolve()
    page = (run.path / "report.html").read_text()
    assert "Controls" in page
    assert rows[0]["text"][1:30] in page


def test_seeds_alone_repeat_the_recipe_and_a_resume_keeps_what_is_done(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    settings |= {"output_dir": tmp_path / "run", "seeds": 2}
    run = rlllm.reason(**settings)
    assert run.ok, run.verdict
    assert run.verdict["diagnostics"]["steps_done"] == 2
    row = run.results["seeds"][0]
    assert row["seeds"] == [0, 1]
    gains = [Run(run.path / f"seed-{seed}").results["measures"][0]["difference"]["estimate"] for seed in (0, 1)]
    assert row["gains"] == gains
    assert row["spread"] == max(gains) - min(gains)
    assert run.results["controls"] == []
    assert len(run.results["findings"]) == 1
    assert run.results["measures"][0]["name"] == "pass@1, mean of 2 seeds"

    first = run.path / "seed-0" / "metrics.jsonl"
    written, results = first.stat().st_mtime_ns, run.results
    (run.path / "seed-1" / "verdict.json").unlink()
    again = rlllm.reason(resume=True, **settings)
    assert again.ok
    assert first.stat().st_mtime_ns == written, "a part that is done is not made again"
    assert again.results["seeds"][0]["gains"] == results["seeds"][0]["gains"]


def test_a_true_run_without_signal_ends_the_experiment_with_its_reason(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "rewards.py").write_text("def vowels(sample): return 1.0")
    settings["rewards"] = settings["rewards"][:1]
    run = rlllm.reason(output_dir=tmp_path / "run", controls=["random"], **settings)
    assert not run.ok
    assert run.verdict["reasons"][0]["text"].startswith("true-0 failed: every group of completions got one")
    assert not (run.path / "random-0").exists()


def test_a_control_chooses_groups_by_its_own_reward(planned: Callable[..., Any]) -> None:
    """By the true one it would choose the true run's prompts."""
    plan = planned(controls=["random", "frozen"], sampler={"name": "dynamic", "reward": "vowels", "max_rounds": 2})
    assert plan.filter_reward == "vowels"
    random, frozen = (child_plan(plan, name, 3, Path("part"), 0.25) for name in ("random", "frozen"))
    assert (random.filter_reward, frozen.filter_reward) == ("random", "vowels")
    assert random.slots["sampler"].params == {"max_rounds": 2}
