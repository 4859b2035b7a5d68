"""A run that another number of processes resumes takes as many rows a step as before, or says that it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import RunDirectoryError
from rlllm.core.runs import Run, write_json
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.resumed_batch import same_batch


def planned(monkeypatch: pytest.MonkeyPatch, verb: str, processes: int, **settings: Any) -> Any:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    given = {"model": "nano", "data": "arithmetic", **settings}
    return plan(resolve_settings(verb, given))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_json(tmp_path / "config.json", {"stage": "sft", "settings": {}})
    return Run(tmp_path)


@pytest.mark.parametrize(
    ("verb", "before", "after", "settings", "expected"),
    [
        ("sft", 2, 1, {"gradient_accumulation_steps": 1}, {"gradient_accumulation_steps": 2}),
        ("sft", 1, 2, {"gradient_accumulation_steps": 4}, {"gradient_accumulation_steps": 2}),
        ("reason", 2, 1, {"gradient_accumulation_steps": 1, "num_generations": 4}, {"gradient_accumulation_steps": 2}),
        (
            "reason",
            2,
            1,
            {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "num_generations": 4},
            {"gradient_accumulation_steps": 4, "steps_per_generation": 8},
        ),
    ],
)
def test_a_step_keeps_its_rows(
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    verb: str,
    before: int,
    after: int,
    settings: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    settings = {"per_device_train_batch_size": 8, **settings}
    first = planned(monkeypatch, verb, before, **settings)
    assert same_batch(first, run, resume=False) is first
    rows = first.rows_of_step
    second = same_batch(planned(monkeypatch, verb, after, **settings), run, resume=True)
    assert {name: second.settings[name] for name in expected} == expected
    assert second.rows_of_step == rows
    if verb == "reason":
        assert second.batches == first.batches


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    settings = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    same_batch(planned(monkeypatch, "sft", 1, **settings), run, resume=False)
    with pytest.raises(RunDirectoryError, match="2 processes cannot keep the batch of this run, 8 rows a step"):
        same_batch(planned(monkeypatch, "sft", 2, **settings), run, resume=True)
