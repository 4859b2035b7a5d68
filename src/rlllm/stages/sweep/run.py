"""`rlllm sweep`: every arm under every seed, one run after another, and their comparison.

    DIR/ARM/seed-0/     one training run, with its own verdict and report
    DIR/tuning/ARM/     runs that chose an arm's settings            DIR/before/NAME/    runs made once a seed before the arms
    DIR/sweep.json      arms, seeds, baseline, what is held equal     DIR/results.json    numbers and comparisons
    DIR/measured/       measurements of start models, shared by runs that measure alike
    DIR/table.md, table.csv, table.tex, report.html                   the same for readers

Seeds come first: all arms are trained under the first seed, then under the second, so that an interrupted sweep has
comparisons. A run that fails is recorded with its reason, and the sweep goes on. Resumed, it makes what is missing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlllm.core import runs
from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.records import fingerprint
from rlllm.core.redaction import secrets_in, without_secrets
from rlllm.core.runs import Run, RunOptions, write_json, write_text
from rlllm.core.stop_signals import like_ctrl_c
from rlllm.report import render_sweep, sweep_tables
from rlllm.stages.sweep import arms as arm_plans
from rlllm.stages.sweep.arms import PlannedArm
from rlllm.stages.sweep.measurements import RunNumbers
from rlllm.stages.sweep.results import JUDGED_AFTER, ArmRuns, hopeless, sweep_results
from rlllm.stages.sweep.runs import Runner
from rlllm.stages.sweep.settings import Sweep
from rlllm.stages.sweep.tuning import tune


@dataclass(slots=True)
class _State:
    """A sweep under way."""

    runner: Runner
    arms: list[PlannedArm]
    runs: dict[str, ArmRuns]
    tuning: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Arm -> what its settings were chosen by."""
    budget: int | None = None
    """Tokens of every run, where they are held equal."""

    @property
    def sweep(self) -> Sweep:
        return self.runner.sweep

    def replace_arm(self, at: int, arm: PlannedArm) -> None:
        self.arms[at] = arm
        own = self.runs[arm.name]
        own.settings = without_secrets(dict(arm.overrides))
        own.notes = [*arm.notes, *([f"does not read {', '.join(arm.left_out)}"] if arm.left_out else [])]


def run_sweep(sweep: Sweep, output_dir: Path, options: RunOptions) -> Run:
    """Train every arm under every seed into `output_dir`, compare them, and write tables and a page.

    Returns:
        The sweep's directory. `ok` is True when every run of every arm was measured; its status says `interrupted` after a
        Ctrl-C.

    Raises:
        RlllmError: settings, data or model of an arm are wrong, or the directory is in use; nothing was started then.
    """
    planned = arm_plans.plan_arms(sweep)
    _check_output(output_dir, options)
    with like_ctrl_c(), runs.held(output_dir, options.progress.note):
        return _run(sweep, planned, output_dir, options)


def _run(sweep: Sweep, planned: list[PlannedArm], output_dir: Path, options: RunOptions) -> Run:
    started = time.monotonic()
    run = _open(sweep, output_dir, options)
    spent = float(run.status.get("seconds", 0.0)) if options.resume else 0.0
    run.set_status("running", stage="sweep", seconds=spent)
    named = sweep.expanded()
    of_arms = {arm.name: ArmRuns({}, arm.stage, compare_with=named[arm.name].compare_with) for arm in planned}
    state = _State(Runner(sweep, output_dir, replace(options, measurements=output_dir / "measured")), planned, of_arms)
    for at, arm in enumerate(planned):
        state.replace_arm(at, arm)
    _load_libraries()
    try:
        _train_all(state)
    except BaseException as error:
        kind = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        run.set_status(kind, stage="sweep", error=repr(error), seconds=round(spent + time.monotonic() - started, 1))
        raise
    _conclude(run, state, round(spent + time.monotonic() - started, 1))
    return run


def _load_libraries() -> None:
    """Import what every run needs: the first one would take longer for it, and seconds would not compare."""
    import rlllm.algorithms.rl_trainer
    import rlllm.algorithms.sealed_trainers

    assert rlllm.algorithms.rl_trainer


def _check_output(path: Path, options: RunOptions) -> None:
    filled = runs.is_filled(path)
    if filled and not (path / "sweep.json").exists() and (options.resume or options.overwrite):
        raise RunDirectoryError("this directory holds no sweep", given=path, hint="choose another --output-dir")
    if filled and not options.overwrite and not options.resume:
        raise RunDirectoryError(
            "the output directory is not empty",
            given=path,
            hint="add --resume to make the runs that are missing, --overwrite to replace it, or choose another --output-dir",
        )


def _open(sweep: Sweep, path: Path, options: RunOptions) -> Run:
    """The sweep's directory, under the rule that nothing is overwritten unasked."""
    _check_output(path, options)
    if options.overwrite:
        runs.empty(path)
    settings = sweep.model_dump(mode="json")
    secrets, digest, settings = secrets_in(settings), fingerprint(settings), without_secrets(settings)
    arms = {name: without_secrets(arm.model_dump(mode="json")) for name, arm in sweep.expanded().items()}
    write_json(path / "sweep.json", {**settings, "arms": arms})
    typed = options.command and without_secrets(options.command, secrets)
    command = {"digest": digest, "stage": "sweep", "command": typed, "settings": settings}
    write_json(path / "config.json", command)
    return Run(path)


def _train_all(state: _State) -> None:
    """All runs: tuning, then seed by seed. Ends early at a Ctrl-C, which the runner knows of."""
    sweep, runner = state.sweep, state.runner
    _prepare(state)
    for seed in range(sweep.seed, sweep.seed + sweep.seeds):
        for arm in state.arms:
            own = state.runs[arm.name]
            if own.stopped is None and not own.untrainable and seed not in own.runs and not runner.interrupted:
                _train(state, arm, seed)
        if runner.interrupted:
            return
        if sweep.stop_hopeless:
            _stop_hopeless(state)
        _write_results(state)


def _prepare(state: _State) -> None:
    """Choose settings where an arm has values to choose from, and with equal tokens give every arm the budget."""
    sweep = state.sweep
    if sweep.equal != "tokens":
        _tune_arms(state, range(len(state.arms)))
        return
    first = state.arms[0]
    given = dict(first.overrides).get("max_tokens")
    if given is not None:
        state.budget = int(given)
        _tune_arms(state, range(len(state.arms)))
        return
    for at, arm in enumerate(state.arms):
        state.replace_arm(at, arm_plans.with_constant_rate(arm))
    _tune_arms(state, range(1))
    measured = _first_run(state)
    if measured is None:
        return
    state.budget = int(measured.numbers["tokens"])
    for at, arm in enumerate(state.arms):
        state.replace_arm(at, arm_plans.with_budget(arm, state.budget, int(measured.numbers["steps"])))
    _tune_arms(state, range(1, len(state.arms)))


def _tune_arms(state: _State, places: range) -> None:
    """The arms at these places with the settings that tuning chose."""
    for at in places:
        arm = state.arms[at]
        chosen, record = tune(state.runner, arm)
        if state.runner.interrupted:
            return
        if record is not None:
            state.tuning[arm.name] = record
            state.runs[arm.name].untrainable = record["chosen"] is None
            state.replace_arm(at, arm.with_settings(chosen))


def _first_run(state: _State) -> RunNumbers | None:
    """The baseline's first run, whose tokens are the budget where none is given; None after a Ctrl-C.

    Raises:
        ConfigError: it failed, or logs no tokens.
    """
    arm, seed = state.arms[0], state.sweep.seed
    if not state.runner.interrupted:
        _train(state, arm, seed)
    if state.runner.interrupted:
        return None
    own = state.runs[arm.name]
    measured = own.runs.get(seed)
    if measured is None or "tokens" not in measured.numbers:
        reason = own.failures.get(seed, "it logs no tokens")
        raise ConfigError(
            "the baseline's first run gives no budget of tokens", given=reason, hint="--set max_tokens=100000"
        )
    return measured


def _train(state: _State, arm: PlannedArm, seed: int) -> None:
    """One run of the table; its numbers or its failure are kept in the state."""
    own, runner = state.runs[arm.name], state.runner
    own.folders[seed] = f"{arm.name}/seed-{seed}"
    attempt = runner.attempt(arm, seed, runner.folder / arm.name / f"seed-{seed}")
    if attempt.failure is not None:
        own.failures[seed] = attempt.failure
    if attempt.numbers is not None:
        own.runs[seed] = attempt.numbers
        own.reasons[seed], own.warnings[seed] = list(attempt.reasons), list(attempt.warnings)
        own.outcomes[seed] = attempt.outcome


def _stop_hopeless(state: _State) -> None:
    first = state.arms[0].name
    for arm in state.arms[1:]:
        own = state.runs[arm.name]
        if own.stopped is None and hopeless(own, state.runs[first]):
            own.stopped = f"stopped after {JUDGED_AFTER} seeds: all its runs are worse than all of {first}"


def _write_results(state: _State) -> None:
    sweep, folder = state.sweep, state.runner.folder
    results = sweep_results(
        state.runs,
        state.arms[0].name,
        title=sweep.title,
        stage=sweep.stage,
        command=state.runner.options.command and without_secrets(state.runner.options.command),
        equal=sweep.equal,
        budget=state.budget,
        seeds=list(range(sweep.seed, sweep.seed + sweep.seeds)),
        tuning=state.tuning,
    )
    write_json(folder / "results.json", results)
    for name, text in sweep_tables(results).items():
        write_text(folder / name, text)


def _conclude(run: Run, state: _State, seconds: float) -> None:
    """Results, verdict, status and page."""
    _write_results(state)
    reasons = [_reason(f"{name}, {text}") for name, arm in state.runs.items() for text in arm.problems()]
    interrupted = state.runner.interrupted
    if interrupted:
        reasons = [_reason("stopped between or inside runs", "interrupted")]
    write_json(run.path / "verdict.json", {"ok": not reasons, "carried_out": not reasons, "reasons": reasons})
    run.set_status("interrupted" if interrupted else "failed" if reasons else "done", stage="sweep", seconds=seconds)
    write_text(run.path / "report.html", render_sweep(run))
    state.runner.options.progress.note(f"finished {run.path}")


def _reason(text: str, code: str = "arm_failed") -> dict[str, Any]:
    return {"code": code, "text": text, "hint": "", "fatal": True}
