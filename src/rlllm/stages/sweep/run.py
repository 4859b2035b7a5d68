"""`rlllm sweep`: every arm under every seed, one run after another, and their comparison.

    DIR/ARM/seed-0/     one training run, with its own verdict and report
    DIR/before/NAME/    runs that are made once for each seed before the arms
    DIR/sweep.json      arms, seeds, baseline, what is held equal     DIR/results.json    numbers and comparisons
    DIR/table.md, table.csv, table.tex, report.html                   the same for readers

Seeds come first: all arms are trained under the first seed, then under the second, so that an interrupted sweep has
comparisons. A run that fails is recorded with its reason, and the sweep goes on. Resumed, it makes what is missing.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, RlllmError, RunDirectoryError, describe
from rlllm.core.records import fingerprint
from rlllm.core.runs import Run, RunOptions, write_json
from rlllm.report import render_sweep, sweep_tables
from rlllm.stages.catalog import stage_function
from rlllm.stages.pipeline import Step
from rlllm.stages.sweep import arms as arm_plans
from rlllm.stages.sweep.arms import Overrides, PlannedArm
from rlllm.stages.sweep.measurements import finished, numbers_of
from rlllm.stages.sweep.results import ArmRuns, sweep_results
from rlllm.stages.sweep.settings import Sweep
from rlllm.training.child_runs import run_child


@dataclass(slots=True)
class _State:
    """A sweep under way."""

    sweep: Sweep
    folder: Path
    options: RunOptions
    arms: list[PlannedArm]
    runs: dict[str, ArmRuns]
    budget: int | None = None
    """Tokens of every run, where they are held equal."""
    before: dict[int, dict[str, Path]] = field(default_factory=dict)
    """Seed -> name -> directory of the runs made before the arms."""
    interrupted: bool = False


def run_sweep(sweep: Sweep, output_dir: Path, options: RunOptions) -> Run:
    """Train every arm under every seed into `output_dir`, compare them, and write tables and a page.

    Returns:
        The sweep's directory. `ok` is True when every run of every arm was measured; its status says `interrupted` after a
        Ctrl-C.

    Raises:
        RlllmError: settings, data or model of an arm are wrong, or the directory is in use; nothing was started then.
    """
    planned = arm_plans.plan_arms(sweep)
    started = time.monotonic()
    run = _open(sweep, output_dir, options)
    spent = float(run.status.get("seconds", 0.0)) if options.resume else 0.0
    run.set_status("running", stage="sweep", seconds=spent)
    runs = {arm.name: ArmRuns(dict(arm.overrides), arm.stage, notes=_notes(arm)) for arm in planned}
    state = _State(sweep, output_dir, options, planned, runs)
    try:
        _train_all(state)
    except BaseException as error:
        kind = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        run.set_status(kind, stage="sweep", error=repr(error), seconds=round(spent + time.monotonic() - started, 1))
        raise
    _conclude(run, state, round(spent + time.monotonic() - started, 1))
    return run


def _notes(arm: PlannedArm) -> list[str]:
    left_out = [f"does not read {', '.join(arm.left_out)}"] if arm.left_out else []
    return [*arm.notes, *left_out]


def _open(sweep: Sweep, path: Path, options: RunOptions) -> Run:
    """The sweep's directory, under the rule that nothing is overwritten unasked."""
    filled = path.is_dir() and any(path.iterdir())
    if filled and not (path / "sweep.json").exists() and (options.resume or options.overwrite):
        raise RunDirectoryError("this directory holds no sweep", given=path, hint="choose another --output-dir")
    if filled and options.overwrite:
        shutil.rmtree(path)
    elif filled and not options.resume:
        raise RunDirectoryError(
            "the output directory is not empty",
            given=path,
            hint="add --resume to make the runs that are missing, --overwrite to replace it, or choose another --output-dir",
        )
    settings = sweep.model_dump(mode="json")
    digest = fingerprint(settings)
    write_json(
        path / "sweep.json",
        {**settings, "arms": {name: arm.model_dump(mode="json") for name, arm in sweep.expanded().items()}},
    )
    command = {"digest": digest, "stage": "sweep", "command": options.command, "settings": settings}
    write_json(path / "config.json", command)
    return Run(path)


def _train_all(state: _State) -> None:
    """All runs, seed by seed; ends early at a Ctrl-C, which is noted in the state."""
    sweep = state.sweep
    _prepare_budget(state)
    for seed in range(sweep.seed, sweep.seed + sweep.seeds):
        for arm in state.arms:
            own = state.runs[arm.name]
            if own.stopped is None and seed not in own.runs:
                _train(state, arm, seed)
            if state.interrupted:
                return
        _write_results(state)


def _prepare_budget(state: _State) -> None:
    """With equal tokens: the budget, from `max_tokens` or else from the baseline's first run, and the arms that keep it."""
    sweep, first = state.sweep, state.arms[0]
    if sweep.equal != "tokens":
        return
    places = {step.name: Path(step.name) for step in sweep.before}
    configs = {arm.name: arm.config(sweep.seed, Path(arm.name), places) for arm in state.arms}
    given = getattr(configs[first.name], "max_tokens", None)
    if given is not None:
        state.budget = given
        return
    if not hasattr(configs[first.name], "max_tokens"):
        raise ConfigError(
            "equal tokens need a baseline whose method counts the tokens it samples",
            given=f"{first.name}, method {configs[first.name].method}",
            hint="--equal steps",
        )
    steps = int(arm_plans.setting(configs[first.name], "max_steps"))
    state.arms = [arm.with_settings(arm_plans.schedule_settings(configs[arm.name])) for arm in state.arms]
    _train(state, state.arms[0], sweep.seed)
    measured = state.runs[first.name].runs.get(sweep.seed)
    if state.interrupted:
        return
    if measured is None or "tokens" not in measured.numbers:
        reason = state.runs[first.name].failures.get(sweep.seed, "it logs no tokens")
        raise ConfigError(
            "the baseline's first run gives no budget of tokens", given=reason, hint="--set max_tokens=100000"
        )
    state.budget = int(measured.numbers["tokens"])
    state.arms = [arm_plans.with_budget(arm, state.budget, configs[arm.name], max(steps, 1)) for arm in state.arms]
    for arm in state.arms:
        state.runs[arm.name].settings, state.runs[arm.name].notes = dict(arm.overrides), _notes(arm)


def _train(state: _State, arm: PlannedArm, seed: int, more: Overrides = ()) -> None:
    """One run of an arm; its numbers or the reason that there are none are kept in the state."""
    own = state.runs[arm.name]
    folder = state.folder / arm.name / f"seed-{seed}"
    own.folders[seed] = str(folder.relative_to(state.folder))
    own.failures.pop(seed, None)
    state.options.progress.note(f"arm {arm.name}, seed {seed}")
    try:
        run = _child(state, arm, seed, folder, more)
    except RunDirectoryError:
        raise
    except RlllmError as error:
        own.failures[seed] = str(error).replace("\n", "; ")
        return
    except Exception as error:
        own.failures[seed] = describe(error)
        return
    finally:
        gc.collect()  # models of hundreds of runs in one process
    if run is None:
        return
    reasons = run.verdict.get("reasons") or []
    if run.status.get("state") == "interrupted":
        state.interrupted = True
    elif not finished(run):
        own.failures[seed] = next((reason["text"] for reason in reasons if reason["fatal"]), "it was not measured")
    else:
        own.runs[seed] = numbers_of(run)
        own.warnings[seed] = [reason["code"] for reason in sorted(reasons, key=lambda reason: not reason["fatal"])]


def _child(state: _State, arm: PlannedArm, seed: int, folder: Path, more: Overrides) -> Run | None:
    """The run of an arm under a seed, made unless it is there; None where a Ctrl-C came before it."""
    places = _before(state, seed)
    if places is None:
        return None
    config = arm.config(seed, folder, places, more)
    there = Run(folder)
    if state.options.resume and finished(there) and there.config["digest"] == config.digest():
        return there
    command = arm.command(seed, places, more)
    options = replace(state.options, recipe=None, command=command, overwrite=False)
    return run_child(config, lambda given: stage_function(arm.stage)(config, given), options)


def _before(state: _State, seed: int) -> Mapping[str, Path] | None:
    """Directories of the runs that come before the arms under a seed, made unless they are there.

    Raises:
        ConfigError: one of them did not succeed.
    """
    made = state.before.setdefault(seed, {})
    for step in state.sweep.before:
        if step.name in made:
            continue
        folder = state.folder / "before" / step.name / f"seed-{seed}"
        run = _run_step(state, step, seed, made, folder)
        if run.status.get("state") == "interrupted":
            state.interrupted = True
            return None
        if not run.ok:
            raise ConfigError(f"{step.name} did not succeed under seed {seed}", given=folder)
        made[step.name] = folder
    return made


def _run_step(state: _State, step: Step, seed: int, made: Mapping[str, Path], folder: Path) -> Run:
    settings = {key: arm_plans.fill(value, seed, made, step.name) for key, value in step.settings.items()}
    config = step.model_copy(update={"settings": settings}).resolve({}, seed)
    config = config.model_copy(update={"output_dir": folder})
    state.options.progress.note(f"{step.name}, seed {seed}")
    options = replace(state.options, recipe=None, command=None, overwrite=False)
    return run_child(config, lambda given: stage_function(step.stage)(config, given), options)


def _write_results(state: _State) -> dict[str, Any]:
    results = sweep_results(
        state.runs,
        state.arms[0].name,
        title=state.sweep.title,
        stage=state.sweep.stage,
        command=state.options.command,
        equal=state.sweep.equal,
        budget=state.budget,
        seeds=list(range(state.sweep.seed, state.sweep.seed + state.sweep.seeds)),
    )
    write_json(state.folder / "results.json", results)
    for name, text in sweep_tables(results).items():
        (state.folder / name).write_text(text, encoding="utf-8")
    return results


def _conclude(run: Run, state: _State, seconds: float) -> None:
    """Results, verdict, status and page."""
    _write_results(state)
    reasons = [
        {"code": "arm_failed", "text": f"{name}, seed {seed}: {reason}", "hint": "", "fatal": True}
        for name, arm in state.runs.items()
        for seed, reason in arm.failures.items()
    ]
    if state.interrupted:
        reasons = [{"code": "interrupted", "text": "stopped between or inside runs", "hint": "", "fatal": True}]
    write_json(run.path / "verdict.json", {"ok": not reasons, "reasons": reasons, "diagnostics": {}})
    run.set_status(
        "interrupted" if state.interrupted else "failed" if reasons else "done", stage="sweep", seconds=seconds
    )
    (run.path / "report.html").write_text(render_sweep(run), encoding="utf-8")
    state.options.progress.note(f"finished {run.path}")
