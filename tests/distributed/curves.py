"""Short runs that are made by one process and by several, and what is compared of them: every logged number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlllm.core.runs import Run

STEPS = 4
CLOCKS = {"time", "tokens_per_second", "step_time", "eval_runtime"}


def settings_of(job: dict[str, Any], model: str, rewards: Path) -> dict[str, Any]:
    """A job with all settings of its run: the model's own text is short, and what it learns from is seen at once."""
    common = {
        "model": model,
        "data": {"name": "arithmetic", "rows": 32, "holdout": 2},
        "eval": {"rows": 2},
        "max_steps": STEPS,
        "save_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "gradient_accumulation_steps": 1,
        **job.get("settings", {}),
    }
    if job["rows"] == 16:
        names = common.get("rewards", ["vowels"])
        common |= {"num_generations": 4, "max_completion_length": 6}
        common["rewards"] = [{"name": f"{rewards}:{name}", "deadline": 0} for name in names]
    return {**job, "settings": common}


def logged(run: Run) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in run.metrics()]


def assert_one_curve(one: Run, two: Run, within: float = 2e-3, without: Sequence[str] = ()) -> None:
    alone, together = logged(one), logged(two)
    assert [row.keys() for row in alone] == [row.keys() for row in together]
    assert len(alone) == STEPS
    differing = [
        f"step {row['step']} {key}: {row[key]} {other[key]}"
        for row, other in zip(alone, together, strict=True)
        for key in row.keys() - {*without}
        if not math.isclose(row[key], other[key], rel_tol=within, abs_tol=within / 10)
    ]
    assert not differing, "\n".join(differing)
    assert [row["loss"] for row in alone] != [alone[0]["loss"]] * STEPS
