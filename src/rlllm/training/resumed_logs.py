"""The logs of a resumed run: what came after the checkpoint is dropped, and what is missing before it is brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlllm.core.errors import RunDirectoryError
from rlllm.core.runs import Run, read_jsonl, read_run_file, write_jsonl
from rlllm.training.plan import Plan


def mend_logs(run: Run, plan: Plan[Any], checkpoint: Path | None) -> list[str]:
    """Make the logs end at a checkpoint; without one they are emptied.

    Returns:
        What was lost or brought back, one sentence each.
    """
    step = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    said = run.rewind(step)
    if checkpoint is None:
        return said
    said += _metrics_from(run, checkpoint, step)
    last = max((row["step"] for row in run.samples() if isinstance(row.get("step"), int)), default=0)
    if plan.trainer.samples and last + plan.steps_per_rollout <= step:
        said.append(f"samples.jsonl ends at step {last}, so that completions of the steps until {step} are lost")
    return said


def _metrics_from(run: Run, checkpoint: Path, step: int) -> list[str]:
    """Bring back logged steps that `metrics.jsonl` lacks, from the history in a checkpoint."""
    try:
        history = read_run_file(checkpoint / "trainer_state.json").get("log_history") or []
    except (RunDirectoryError, OSError):
        return []
    known = {row["step"] for row in run.metrics()}
    missing = [row for row in history if "loss" in row and row["step"] <= step and row["step"] not in known]
    if not missing or not run.writes:
        return []
    numbers = [
        {
            "step": row["step"],
            **{key: float(value) for key, value in row.items() if key != "step" and _is_number(value)},
        }
        for row in missing
    ]
    rows = sorted([*read_jsonl(run.path / "metrics.jsonl", []), *numbers], key=lambda row: row.get("step", 0))
    write_jsonl(run.path / "metrics.jsonl", rows)
    first, last = missing[0]["step"], missing[-1]["step"]
    which = f"step {first}" if first == last else f"{len(missing)} steps, {first} to {last}"
    return [f"metrics.jsonl lacked {which}: brought back from {checkpoint.name}, without times"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
