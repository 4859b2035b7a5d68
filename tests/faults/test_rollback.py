"""A step that is no finite number: its batch is kept, and the run goes back to its last good checkpoint, twice at most."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.runs import Run

LOSS = '''
from pathlib import Path


def broken(logps, inputs, at: str = "", folder: str = ""):
    """NaN in the calls whose number stands in `at`, counted over all starts."""
    log = Path(folder) / "calls"
    calls = int(log.read_text()) + 1 if log.exists() else 1
    log.write_text(str(calls))
    losses = -inputs.advantages * logps
    return losses * float("nan") if calls > 1 and str(calls) in at.split() else losses
'''


@pytest.fixture
def train(tiny_model: str, tmp_path: Path) -> Any:
    (tmp_path / "loss.py").write_text(LOSS)
    (tmp_path / "reward.py").write_text("def ends(sample):\n    return len(sample.completion.encode()) % 7\n")

    def call(at: str, **settings: Any) -> Run:
        loss = {"name": f"{tmp_path / 'loss.py'}:broken", "at": at, "folder": str(tmp_path)}
        return rlllm.reason(
            model=tiny_model,
            data={"name": "arithmetic", "rows": 24, "holdout": 0},
            rewards=[{"name": f"{tmp_path / 'reward.py'}:ends", "deadline": 0}],
            rollout={"group_size": 4, "max_new_tokens": 6},
            per_device_train_batch_size=8,
            max_steps=6,
            learning_rate=1e-3,
            loss=loss,
            output_dir=tmp_path / "run",
            **settings,
        )

    return call


def reasons(run: Run) -> dict[str, bool]:
    return {reason["code"]: reason["fatal"] for reason in run.verdict["reasons"]}


def test_a_run_goes_back_to_its_last_good_checkpoint_and_goes_on(train: Any) -> None:
    run = train("5", save_steps=2)  # call 1 is of the check of the loss, so that step 4 meets it, which would be saved
    assert run.ok
    assert reasons(run)["rolled_back"] is False
    assert run.verdict["diagnostics"]["rollbacks"] == [{"step": 4, "to": 2}]
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(row["loss"]) for row in run.metrics())
    kept = json.loads((run.path / "nonfinite" / "step-4.json").read_text())
    assert "nan" in (kept["loss"], kept["grad_norm"])
    assert len(kept["rows"]) == 8
    assert sorted({row["step"] for row in run.samples()}) == [1, 2, 3, 4, 5, 6]


def test_a_run_goes_back_twice_and_then_fails(train: Any) -> None:
    run = train("5 7 9", save_steps=2)  # steps 4, 4 and 4
    assert not run.ok
    assert reasons(run)["non_finite"]
    assert run.verdict["diagnostics"]["rollbacks"] == [{"step": 4, "to": 2}] * 2
    assert not (run.path / "checkpoints" / "checkpoint-4").exists()


def test_without_a_checkpoint_a_run_ends_at_its_first_step_that_is_no_number(train: Any) -> None:
    run = train("3")
    assert not run.ok
    assert next(iter(reasons(run))) == "non_finite"
    assert [row["step"] for row in run.metrics()] == [1, 2]
    assert (run.path / "nonfinite" / "step-2.json").exists()


def test_rows_of_imitation_are_kept_as_text(tiny_model: str, tmp_path: Path) -> None:
    run = rlllm.sft(
        model=tiny_model,
        data={"name": "arithmetic", "rows": 8, "holdout": 0},
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=4,
        learning_rate=1e20,
        max_grad_norm=0.0,
        output_dir=tmp_path / "run",
    )
    assert not run.ok
    (kept,) = (run.path / "nonfinite").iterdir()
    rows = json.loads(kept.read_text())["rows"]
    assert len(rows) == 4
    assert all("=" in row or "+" in row or "-" in row for row in rows)
