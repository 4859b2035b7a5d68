"""Runs made of whole runs. Each child run has its own directory, verdict, checkpoints and report.

A child that was carried out under the same settings is not repeated when its parent is resumed; one that was begun is
continued. Whether a child improved is its own result: the parent is judged by its own measure, and `fail_on` is the parent's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from rlllm.core.config import HardwareConfig, StageConfig
from rlllm.core.errors import RunDirectoryError
from rlllm.core.runs import Run, RunOptions
from rlllm.core.verdict import Diagnostics
from rlllm.launch import process_group
from rlllm.training.plan import Plan

ConfigT = TypeVar("ConfigT", bound=StageConfig)


def run_child(config: StageConfig, start: Callable[[RunOptions], Run], options: RunOptions) -> Run:
    """Run a child into `config.output_dir`.

    Args:
        config: settings of the child; `output_dir` is set.
        start: runs it.
        options: `resume` is True when the parent is resumed: the child may be done, begun, or not there.

    Raises:
        RunDirectoryError: the settings name no output directory.
    """
    if config.output_dir is None:
        raise RunDirectoryError("a run inside another run needs an output directory", given=config.stage)
    child = Run(config.output_dir)
    begun, done = process_group.on_main(lambda: _how_far(child, config, resume=options.resume))
    if done:
        options.progress.note(f"{child.path}: already done")
        return child
    return start(replace(options, resume=begun))


def _how_far(child: Run, config: StageConfig, *, resume: bool) -> tuple[bool, bool]:
    """Whether a child was begun, and whether it was carried out under the same settings."""
    begun = resume and (child.path / "config.json").exists()
    return begun, begun and child.carried_out and child.config["digest"] == config.digest()


def like_first(config: ConfigT, first: Run | None) -> ConfigT:
    """The settings of a further child, with the threads and the matrix product that the first child computed with."""
    chosen = first.config.get("hardware") if first else None
    if not chosen:
        return config
    hardware = HardwareConfig(threads=chosen["threads"], matmul=chosen["matmul"])
    return config.model_copy(update={"hardware": hardware})


def record_like(run: Run, child: Run) -> None:
    """Write a child's hardware and TRL settings into its parent's `config.json`, as far as the child has them."""
    used = {name: child.config[name] for name in ("hardware", "trl") if name in child.config}
    run.add_to_config(**used)


def train_child(plan: Plan[Any], label: str, diagnostics: Diagnostics, options: RunOptions) -> Run:
    """Run a child's plan, and merge what it observed into the parent's diagnostics.

    Args:
        plan: of the child; its `output_dir` is set.
        label: names the child in the parent's failure.
        diagnostics: of the parent. Their `failure` is set if the child failed; the parent then ends.
        options: of the parent.
    """
    own = RunOptions(
        progress=options.progress,
        resume=options.resume,
        environment=options.environment,
        accept_change=options.accept_change,
    )
    child = run_child(plan.config, lambda given: plan.trainer.run(plan, given), own)
    diagnostics.merge(Diagnostics(**child.verdict["diagnostics"]))
    if not child.carried_out and not diagnostics.interrupted:
        reasons = [reason["text"] for reason in child.verdict["reasons"] if reason["fatal"]]
        diagnostics.failure = f"{label} failed: {reasons[0]}"
    return child


def continue_metrics(run: Run, child: Run) -> None:
    """Append a child's logged steps to its parent's, numbered on from the parent's last."""
    done = max((row.get("step", 0) for row in run.metrics()), default=0)
    run.append("metrics.jsonl", [{**row, "step": row.get("step", 0) + done} for row in child.metrics()])
