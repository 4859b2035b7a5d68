"""`rlllm plan`: what it says of runs that fit, that can learn, and that cannot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.tools.planning.forecast import Forecast, seconds_text
from rlllm_cli.main import run

SMALL = {"trainer": {"per_device_train_batch_size": 32, "max_steps": 40, "learning_rate": 2e-4}}
DATA = {"name": "arithmetic", "level": 2, "rows": 200, "holdout": 32}
EVAL = {"rows": 16, "samples": 1}


@pytest.fixture(scope="module")
def planned() -> Forecast:
    return rlllm.plan("reason/quickstart", seconds=0, data=DATA, eval=EVAL, **SMALL)


def test_a_run_that_fits_and_can_learn_is_called_so(planned: Forecast) -> None:
    assert planned.verdict is not None
    assert (planned.ok, planned.fits, planned.verdict[0]) == (True, True, "can")
    said = {label for label, _ in planned.lines()}
    assert {"stage", "cost", "fits", "disk", "time", "learning", "smallest gain"} <= said


def test_the_probe_names_all_that_stays_in_memory(planned: Forecast) -> None:
    assert planned.probe is not None
    held, parts = planned.probe.held, planned.parts or {}
    assert held["weights"] == pytest.approx(parts["weights"], rel=0.01)
    assert held["optimizer"] == pytest.approx(2 * held["gradients"], rel=0.01)
    explained = sum(held.values()) + planned.probe.beside + planned.probe.passing
    assert explained >= 0.95 * planned.probe.used  # more where the process takes memory again that it had freed before


def test_the_time_of_a_run_is_the_sum_of_its_parts(planned: Forecast) -> None:
    time = planned.duration
    assert time is not None
    assert set(time.phases) == {"generate", "score", "train"}
    assert sum(time.phases.values()) == pytest.approx(time.step)
    assert time.total.low < time.total.estimate < time.total.high
    assert time.total.estimate >= time.steps * time.step
    assert time.longest is not None
    assert time.longest > time.total.estimate


def test_mixed_groups_are_predicted_for_each_size_and_grow_with_it(planned: Forecast) -> None:
    assert planned.learning is not None
    shares = [share.estimate for share in planned.learning.mixed.values()]
    assert list(planned.learning.mixed) == [2, 4, 8, 16, 32]
    assert shares == sorted(shares)
    assert all(share.low <= share.estimate <= share.high for share in planned.learning.mixed.values())


def test_a_limit_that_cuts_every_completion_is_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.chdir(tmp_path)
    words = "plan reason quickstart data.rows=100 eval.rows=8 eval.samples=1 rollout.max_new_tokens=6 --seconds 0"
    assert run(words.split()) == 1
    said = capsys.readouterr().out
    assert "will not learn to answer: " in said
    assert " of the completions are cut at max_new_tokens=6, and" in said
    assert "rollout.max_new_tokens=12" in said
    assert list(tmp_path.iterdir()) == []


def test_rewards_that_never_differ_are_found() -> None:
    options = {
        "data": DATA,
        "eval": EVAL,
        "rollout": {"group_size": 2},
        "rewards": [{"name": "length", "budget": 96, "buffer": 5}],
    }
    found = rlllm.plan("reason/quickstart", seconds=2, per_device_train_batch_size=64, max_steps=40, **options)
    assert found.verdict is not None
    assert (found.ok, found.verdict[0]) == (False, "cannot")
    assert "no group will be mixed" in found.verdict[1]


def test_groups_that_the_format_alone_tells_apart_hardly_teach(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    task = [{"prompt": f"What is {a} + 1?", "answer": "999999"} for a in range(64)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in task), encoding="utf-8")
    rewards: list[Any] = ["exact", {"name": "format", "weight": 0.1}]
    found = rlllm.plan(
        stage="reason", model="nano", data={"name": str(rows), "holdout": 8}, rewards=rewards, method="grpo", eval=EVAL,
        rollout={"group_size": 8, "max_new_tokens": 64}, seconds=0, **SMALL,
    )  # fmt: skip
    assert found.verdict is not None
    assert found.verdict[0] == "hardly"
    assert "by format alone" in found.verdict[1]


@pytest.mark.parametrize(
    ("recipe", "measure"), [("sft/quickstart", "held-out loss"), ("train-rm/quickstart", "pair accuracy")]
)
def test_what_learns_from_rows_is_planned_without_a_word_on_learning(recipe: str, measure: str) -> None:
    found = rlllm.plan(recipe, seconds=0, data={"rows": 100, "holdout": 16}, max_steps=10, eval={"rows": 16})
    assert (found.verdict, found.learning, found.ok) == (None, None, True)
    assert found.duration is not None
    assert set(found.duration.phases) == {"train"}
    assert 0 < found.smallest_gain[measure] <= 1


def test_a_run_of_several_processes_is_planned_by_arithmetic() -> None:
    found = rlllm.plan("reason/quickstart", launch={"name": "ddp", "processes": 2})
    assert (found.probe, found.duration, found.ok) == (None, None, True)
    assert dict(found.lines())["probe"].startswith("not tried: launch=ddp starts several processes")


def test_a_method_that_trains_in_rounds_is_planned_by_arithmetic() -> None:
    found = rlllm.plan("align/quickstart", method="spin", data={"name": "arithmetic", "rows": 50, "holdout": 8})
    assert (found.probe, found.duration) == (None, None)
    assert "spin trains in rounds" in dict(found.lines())["probe"]


def test_an_ensemble_takes_as_long_as_all_its_members() -> None:
    options = {"data": {"rows": 64, "holdout": 8}, "eval": {"rows": 8}, "method": "ensemble", "members": 4}
    found = rlllm.plan("train-rm/quickstart", seconds=0, max_steps=10, **options)
    assert found.duration is not None
    assert found.duration.runs == 4
    assert 0 < found.duration.total.low < found.duration.total.high


def test_json_holds_the_same(planned: Forecast) -> None:
    value = json.loads(json.dumps(planned.to_json()))
    assert (value["ok"], value["learning"]["answer"], value["memory"]["fits"]) == (True, "can", True)
    assert value["time"]["total"]["low"] < value["time"]["total"]["high"]
    assert value["plan"]["stage"] == "reason"


def test_without_a_verb_there_is_nothing_to_plan() -> None:
    with pytest.raises(ConfigError, match="which verb is planned"):
        rlllm.plan({"model": "nano"})


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0421, "0.0421 s"), (42, "42 s"), (200, "3 min 20 s"), (18720, "5 h 12 min")]
)
def test_seconds_are_written_for_a_person(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
