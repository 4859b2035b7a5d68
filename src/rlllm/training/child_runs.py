"""Runs made of whole runs: each part has its own directory, verdict, checkpoints and report under the parent's.

A part is kept if it succeeded under the same settings, continued if it was begun, and else started; the parent's facts are
the sum of its parts', and the first part that fails ends the parent with its reason.
"""

from __future__ import annotations

from collections.abc import Callable

from rlllm.core.events import Listener
from rlllm.core.runs import Run, append_jsonl
from rlllm.core.verdict import Facts
from rlllm.training.plan import Plan


def run_part(plan: Plan, *, listener: Listener, resume: bool, run: Callable[..., Run] | None = None) -> Run:
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


def add_facts(facts: Facts, part: Run, name: str) -> bool:
    """Add what a part's verdict says to the facts of the whole; True while the whole may go on."""
    seen = part.verdict["facts"]
    facts.steps_requested += seen["steps_requested"]
    facts.steps_done += seen["steps_done"]
    facts.non_finite_steps += seen["non_finite_steps"]
    facts.largest_gradient = max(facts.largest_gradient or 0.0, seen["largest_gradient"] or 0.0)
    facts.weights_changed = bool(seen["weights_changed"]) and facts.weights_changed is not False
    facts.interrupted = seen["interrupted"]
    if not part.ok and not facts.interrupted:
        reasons = [reason["text"] for reason in part.verdict["reasons"] if reason["fatal"]]
        facts.failure = f"{name} failed: {reasons[0]}"
    return part.ok


def continue_metrics(run: Run, part: Run) -> None:
    """Append a part's logged steps to the parent's, numbered on from the parent's last."""
    done = max((row.get("step", 0) for row in run.metrics()), default=0)
    append_jsonl(run.path / "metrics.jsonl", [{**row, "step": row.get("step", 0) + done} for row in part.metrics()])
