"""What a tracker gets of a run, by the real packages: settings, every logged step, and what was measured at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.algorithms.trackers import measured, run_name
from rlllm.core.errors import ConfigError
from rlllm.core.runs import Run
from rlllm.stages.catalog import plan, resolve_settings

DATA = {"name": "arithmetic", "level": 1, "rows": 32, "holdout": 8}


def reinforced(folder: Path, **settings: Any) -> Run:
    return rlllm.reason(
        model="nano",
        data=DATA,
        rewards=["exact"],
        max_steps=3,
        save_steps=1,
        beta=0.1,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        rollout={"max_new_tokens": 32, "group_size": 4},
        eval={"rows": 4, "samples": 1},
        output_dir=folder,
        **settings,
    )


def board(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_tensorboard_gets_every_step_the_settings_and_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = reinforced(tmp_path / "run", report_to="tensorboard")
    assert run.carried_out
    events = board(run.path / "tensorboard")
    for name in ("reward", "kl", "loss"):
        told = {event.step: event.value for event in events.Scalars(f"train/{name}")}
        logged = {row["step"]: row[name] for row in run.metrics()}
        assert told == pytest.approx(logged, abs=1e-6)
    (row,) = run.results["measures"][:1]
    (after,) = events.Scalars(f"eval/{row['name']}/after")
    assert (after.step, after.value) == (3, pytest.approx(row["after"]["estimate"], abs=1e-6))
    (text,) = events.Tensors("rlllm/text_summary")
    assert b'"group_size": 4' in text.tensor_proto.string_val[0]


def test_a_resumed_run_goes_on_in_the_same_board(tiny_model: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from rlllm.core.runs import RunOptions
    from rlllm.stages.catalog import stage_function

    settings = resolve_settings(
        "sft",
        {
            "model": tiny_model,
            "data": DATA,
            "max_steps": 3,
            "save_steps": 1,
            "report_to": "tensorboard",
            "eval": {"rows": 4},
            "output_dir": str(tmp_path / "run"),
        },
    )
    train = stage_function("sft")
    train(settings, RunOptions(stop_after=2))
    run = train(settings, RunOptions(resume=True))
    steps = [event.step for event in board(run.path / "tensorboard").Scalars("train/loss")]
    assert steps == [1, 2, 3]


TRACKED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_trackers import reinforced
run = reinforced(Path({folder!r}), report_to="trackio")
assert run.carried_out, run.verdict
import trackio
kept = trackio.Api().runs("rlllm")
print([one.name for one in kept])
assert [one.name for one in kept] == ["tracked"]
from trackio.sqlite_storage import SQLiteStorage
rows = SQLiteStorage.get_logs("rlllm", "tracked")
rewards = [row["train/reward"] for row in rows if "train/reward" in row]
assert rewards == [row["reward"] for row in run.metrics()], rewards
name = run.results["measures"][0]["name"]
assert [row[f"eval/{{name}}/after"] for row in rows if f"eval/{{name}}/after" in row] == [
    run.results["measures"][0]["after"]["estimate"]
]
config = SQLiteStorage.get_run_config("rlllm", "tracked")
assert config["rlllm"]["rollout"]["group_size"] == 4, config
"""


@pytest.mark.slow
def test_trackio_keeps_the_run_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    script = TRACKED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "tracked"))
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def test_a_tracker_that_fails_is_left_out_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", broken)
    assert reinforced(tmp_path / "run", report_to="tensorboard").carried_out


def test_a_tracker_that_does_not_start_fails_the_run_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "file" / "below"))
    run = reinforced(tmp_path / "run", report_to="tensorboard")
    assert not run.ok
    assert "the tracker tensorboard does not start" in str(run.verdict["reasons"])


def test_a_tracker_without_its_package_is_refused_when_a_run_is_planned() -> None:
    with pytest.raises(ConfigError, match=r"pip install (neptune|dvclive)"):
        plan(resolve_settings("sft", {"model": "nano", "data": DATA, "report_to": "dvclive"}))


def test_a_run_under_another_is_named_after_both(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "iterations" / "1"
    inner.mkdir(parents=True)
    assert run_name(inner) == "1"
    (tmp_path / "outer" / "status.json").write_text("{}")
    assert run_name(inner) == "outer/iterations/1"


def test_measures_without_a_value_are_left_out() -> None:
    rows = [{"name": "kl", "before": None, "after": {"estimate": 0.5, "low": 0.25, "high": None}, "difference": None}]
    assert measured({"measures": rows}) == {"eval_kl/after": 0.5, "eval_kl/after_low": 0.25}
    assert measured({}) == {}
