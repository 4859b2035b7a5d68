"""Samplers and mixes by name: a plan knows them, refuses what cannot work, and a run takes its steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.stages.catalog import plan, resolve_settings


def planned(**settings: Any) -> Any:
    data = {"data": {"name": "arithmetic", "rows": 16, "holdout": 0}}
    return plan(resolve_settings("reason", {}, [*{**data, **settings}.items()]))


CHOICES: list[dict[str, Any]] = [
    {"sampler": "dynamic"},
    {"sampler": "pass-band"},
    {"sampler": "replay"},
    {"sampler": "hints"},
    {"sampler": "curriculum"},
    {"off_policy": "demonstrations"},
    {"loss": "dual-clip"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(choice.values()))
def test_a_choice_takes_two_steps(nano: str, tmp_path: Path, choice: dict[str, Any]) -> None:
    run = rlllm.reason(
        model=nano,
        data={"name": "arithmetic", "rows": 8, "holdout": 0},
        eval={"rows": 0},
        output_dir=tmp_path / "run",
        max_steps=2,
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=12,
        **choice,
    )
    assert run.verdict["diagnostics"]["steps_done"] == 2
    rows = list(run.samples())
    assert len(rows) >= 16
    assert {row["level"] for row in rows} == {2}


def test_demonstrations_bring_their_loss_unless_another_is_chosen() -> None:
    assert planned(off_policy="demonstrations").slots["loss"].name == "luffy"
    assert planned(off_policy="demonstrations", loss="grpo").slots["loss"].name == "grpo"
    assert planned(off_policy="demonstrations", loss_type="dapo").slots["loss"].name == "dapo"
    assert "off_policy" not in planned().slots
    assert planned(method="luffy", **{"off_policy.count": 2}).slots["off_policy"].params == {"count": 2}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"off_policy": "dreams"}, "unknown off_policy: dreams"),
    ({"off_policy": {"name": "demonstrations", "count": 8}}, "at least one sampled completion"),
    ({"off_policy": {"name": "demonstrations", "column": "worked"}}, "needs the column worked"),
    ({"off_policy": {"name": "demonstrations", "counts": 2}}, "does not take these fields"),
    ({"sampler": {"name": "hints", "column": "worked"}}, "needs the column worked"),
    ({"sampler": {"name": "pass-band", "low": 1.0}}, "0 <= low < high <= 1"),
    ({"sampler": {"name": "curriculum", "raises": ["cues"]}}, "raises the weight of a reward"),
    ({"sampler": {"name": "curriculum", "column": "level"}, "data.level": 5}, "have no tier from 1 to 4"),
    (
        {
            "sampler": "curriculum",
            "environment": "calculator",
            "data": {"name": "calculator", "rows": 16, "holdout": 0},
        },
        "which no tool has helped",
    ),
    ({"sampler": "dynamic", "method": "remax", "rollout.group_size": 1}, "needs at least two"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_work_is_refused_when_planned(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(**settings)


def test_data_without_solutions_is_refused_with_the_columns_it_has(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"{i}?", "answer": "1", "worked": "1 is 1"}) + "\n" for i in range(8))
    )
    with pytest.raises(ConfigError, match="8 of 8 rows") as caught:
        planned(data=str(path), sampler="hints", rewards=["exact"])
    assert "worked" in caught.value.exists
    assert planned(data=str(path), sampler={"name": "hints", "column": "worked"}, rewards=["exact"]).slots
