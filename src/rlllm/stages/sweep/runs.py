"""One training run of a sweep, made unless it is there, with the runs that it needs before it."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlllm.core.config import StageConfig
from rlllm.core.errors import ConfigError, RlllmError, RunDirectoryError, describe
from rlllm.core.runs import Run, RunOptions
from rlllm.stages.catalog import plan, stage_function
from rlllm.stages.pipeline.settings import Step
from rlllm.stages.sweep.arms import Overrides, PlannedArm, fill, references
from rlllm.stages.sweep.measurements import RunNumbers, finished, numbers_of
from rlllm.stages.sweep.settings import Sweep
from rlllm.training.child_runs import run_child


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one run: numbers, a failure, or neither where it was interrupted."""

    numbers: RunNumbers | None = None
    failure: str | None = None
    reasons: tuple[str, ...] = ()
    """Codes of its verdict's fatal reasons, such as `got_worse`; it was measured all the same."""
    warnings: tuple[str, ...] = ()
    """Codes of the other reasons."""
    outcome: str | None = None
    """State of its outcome, such as `improved`."""


@dataclass(slots=True)
class Runner:
    """Makes the runs of a sweep, one at a time.

    Args:
        sweep: what is made.
        folder: its directory.
        options: how it was started.
        interrupted: whether a Ctrl-C came; then nothing more is to be made.
    """

    sweep: Sweep
    folder: Path
    options: RunOptions
    interrupted: bool = False
    _before: dict[tuple[str, int], Path] = field(default_factory=dict)

    def attempt(self, arm: PlannedArm, seed: int, folder: Path, more: Overrides = ()) -> Attempt:
        """A run of an arm; what it raises is its failure.

        Args:
            arm: what to train.
            seed: of the run.
            folder: its directory.
            more: settings over the arm's.

        Raises:
            RunDirectoryError: the directory holds a run with other settings.
        """
        self.options.progress.note(f"{folder.relative_to(self.folder)}")
        try:
            run = self._made(arm, seed, folder, more)
        except RunDirectoryError:
            raise
        except RlllmError as error:
            return Attempt(failure=str(error).replace("\n", "; "))
        except Exception as error:
            return Attempt(failure=describe(error))
        finally:
            gc.collect()  # models of hundreds of runs in one process
        if run is None or run.status.get("state") == "interrupted":
            self.interrupted = True
            return Attempt()
        reasons = run.verdict.get("reasons") or []
        fatal = [reason for reason in reasons if reason["fatal"]]
        if not finished(run):
            return Attempt(failure=fatal[0]["text"] if fatal else "nothing was measured after training")
        return Attempt(
            numbers_of(run),
            reasons=tuple(reason["code"] for reason in fatal),
            warnings=tuple(reason["code"] for reason in reasons if not reason["fatal"]),
            outcome=run.outcome.state if run.outcome else None,
        )

    def _made(self, arm: PlannedArm, seed: int, folder: Path, more: Overrides) -> Run | None:
        """The run; None where a Ctrl-C came in one of those before it."""
        places = self._made_before(references([value for _, value in arm.overrides]), seed)
        if places is None:
            return None
        config = arm.config(seed, folder, places, more)
        there = Run(folder)
        if self.options.resume and finished(there) and _is_run_of(there, config):
            return there
        options = replace(self.options, recipe=None, command=arm.command(seed, places, more), overwrite=False)
        return run_child(config, lambda given: stage_function(arm.stage)(config, given), options)

    def _made_before(self, names: set[str], seed: int) -> dict[str, Path] | None:
        """Directories of the named runs that come before the arms, and of those that they need; None after a Ctrl-C.

        Raises:
            ConfigError: one of them did not succeed.
        """
        needed = set(names)
        for step in reversed(self.sweep.before):
            needed |= references(step.settings) if step.name in needed else set()
        places: dict[str, Path] = {}
        for step in self.sweep.before:
            if step.name not in needed:
                continue
            own = _seed_of(step, seed)
            if (step.name, own) not in self._before:
                run = self._made_step(step, own, places)
                if run.status.get("state") == "interrupted":
                    return None
                if not run.ok:
                    raise ConfigError(f"{step.name} did not succeed under seed {own}", given=run.path)
                self._before[step.name, own] = run.path
            places[step.name] = self._before[step.name, own]
        return places

    def _made_step(self, step: Step, seed: int, places: dict[str, Path]) -> Run:
        folder = self.folder / "before" / step.name / f"seed-{seed}"
        settings = {key: fill(value, seed, places, step.name) for key, value in step.settings.items()}
        config = step.model_copy(update={"settings": settings}).resolve({}, seed)
        config = config.model_copy(update={"output_dir": folder})
        self.options.progress.note(f"{folder.relative_to(self.folder)}")
        options = replace(self.options, recipe=None, command=None, overwrite=False)
        return run_child(config, lambda given: stage_function(step.stage)(config, given), options)


def _seed_of(step: Step, seed: int) -> int:
    """The seed that a run before the arms is made under: its own, so that one serves all seeds, where nothing in it depends on
    the seed of an arm."""
    given, settings = step.settings.get("seed"), step.settings
    if not isinstance(given, int) or references(settings):
        return seed
    alike = fill(settings, 0, {}, step.name) == fill(settings, 1, {}, step.name)
    return given if alike else seed


def _is_run_of(run: Run, config: StageConfig) -> bool:
    """Whether a run was made with these settings, be it that its method fills in some of them when it is planned."""
    digest = run.config["digest"]
    return digest == config.digest() or digest == plan(config).config.digest()
