"""Monitored rewards in the loop: a planted hack is told while it trains, survives a resume, and nothing is told without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlllm.core.events import NullProgress
from rlllm.core.records import Sample
from rlllm.core.runs import Run
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.flow import Job
from rlllm.training.trainers.rl import recorder

HACK = """
def mentions(sample):
    return float(sample.answer in sample.completion)
"""
"""Listing all options pays; `exact`, of weight 0, wants one answer."""


class Listening(NullProgress):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def job(tmp_path: Path) -> Job[Any]:
    (tmp_path / "hack.py").write_text(HACK)
    settings = {
        "data": {"name": "arithmetic", "rows": 64, "holdout": 0},
        "rewards": [f"{tmp_path / 'hack.py'}:mentions", {"name": "exact", "weight": 0}],
        "max_steps": 40,
        "per_device_train_batch_size": 64,
    }
    (tmp_path / "run").mkdir()
    planned: Any = plan(resolve_settings("reason", settings))
    return Job(planned, Run(tmp_path / "run"), hardware=None, tokenizer=None, model=None, progress=Listening())  # type: ignore[arg-type]


def rollout(job: Job[Any], step: int, listing: float, generator: np.random.Generator) -> list[dict[str, Any]]:
    """What a policy that lists all options with this chance, and else guesses, would be paid."""
    rows = []
    for task in job.plan.loaded.train:
        lists = generator.random() < listing
        guess = task.answer if generator.random() < 0.3 else "-1"
        rows.append((task, f"#### {task.answer}\n#### -1" if lists else f"#### {guess}"))
    scores = job.plan.rewards.score([Sample(task.prompt, text, task.answer, task.meta) for task, text in rows])
    return [
        {
            "step": step,
            "row": index,
            "prompt": task.prompt,
            "completion": text,
            "answer": task.answer,
            "reward": scores.totals[index],
            "rewards": scores.describe(index),
        }
        for index, (task, text) in enumerate(rows)
    ]


def test_listing_all_options_is_told_within_thirty_steps_and_a_resume_keeps_it(job: Job[Any]) -> None:
    assert job.plan.rewards.monitored == ["exact"]
    generator = np.random.default_rng(0)
    record = recorder(job)
    for step in range(1, 41):
        record(rollout(job, step, listing=step / 40, generator=generator))
    (told,) = job.progress.heard  # type: ignore[attr-defined]
    assert told.startswith("warning: at step ")
    assert "exact, which is only monitored, had not followed" in told
    (alarm,) = job.diagnostics.alarms
    assert alarm["step"] <= 30
    assert len(list(job.run.samples())) == 40 * 64

    again = Job(job.plan, job.run, job.hardware, None, None, Listening())
    recorder(again)
    assert again.diagnostics.alarms == job.diagnostics.alarms
    assert again.progress.heard == []  # type: ignore[attr-defined]


def test_a_policy_that_does_not_learn_the_hack_is_not_suspected(job: Job[Any]) -> None:
    generator = np.random.default_rng(1)
    record = recorder(job)
    for step in range(1, 41):
        record(rollout(job, step, listing=0.2, generator=generator))
    assert job.diagnostics.alarms == []
