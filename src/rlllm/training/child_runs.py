"""Runs made of whole runs. Each part has its own directory, verdict, checkpoints and report under the parent's.

A part is kept if it succeeded under the same settings, continued if it was begun, and else started; the parent's diagnostics
are
the sum of its parts', and the first part that fails ends the parent with its reason.
"""

from __future__ import annotations

from collections.abc import Callable

from rlllm.core.events import ProgressCallback
from rlllm.core.runs import Run, append_jsonl
from rlllm.core.verdict import Diagnostics
from rlllm.training.plan import Plan


def run_part(plan: Plan, *, listener: ProgressCallback, resume: bool, run: Callable[..., Run] | None = None) -> Run:
    """Run a part's plan into `plan.config.output_dir`.

    Args:
        plan: of the part; its `output_dir` is set.
        listener: hears the part.
        resume: True when the parent is resumed: the part may have been begun, or be done.
        run: what runs the plan; by default its family.
    """
    assert plan.config.output_dir is not None
    part = Run(plan.config.output_dir)
    begun = resume and (part.path / "config.json").exists()
    if begun and part.ok and part.config["digest"] == plan.config.digest():
        listener.note(f"{part.path}: already done")
        return part
    return (run or plan.family.run)(plan, listener=listener, resume=begun)


def add_facts(diagnostics: Diagnostics, part: Run, name: str) -> bool:
    """Add what a part's verdict says to the diagnostics of the whole; True while the whole may go on."""
    seen = part.verdict["diagnostics"]
    diagnostics.steps_requested += seen["steps_requested"]
    diagnostics.steps_done += seen["steps_done"]
    diagnostics.non_finite_steps += seen["non_finite_steps"]
    diagnostics.largest_gradient = max(diagnostics.largest_gradient or 0.0, seen["largest_gradient"] or 0.0)
    diagnostics.weights_changed = bool(seen["weights_changed"]) and diagnostics.weights_changed is not False
    diagnostics.interrupted = seen["interrupted"]
    if not part.ok and not diagnostics.interrupted:
        reasons = [reason["text"] for reason in part.verdict["reasons"] if reason["fatal"]]
        diagnostics.failure = f"{name} failed: {reasons[0]}"
    return part.ok


def continue_metrics(run: Run, part: Run) -> None:
    """Append a part's logged steps to the parent's, numbered on from the parent's last."""
    done = max((row.get("step", 0) for row in run.metrics()), default=0)
    append_jsonl(run.path / "metrics.jsonl", [{**row, "step": row.get("step", 0) + done} for row in part.metrics()])
