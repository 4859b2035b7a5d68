"""Runs of several processes, from settings: what the setting `launch` would start, and the first process that starts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rlllm.core import runs
from rlllm.core.errors import ConfigError
from rlllm.core.redaction import secrets_in
from rlllm.core.runs import Run, RunOptions
from rlllm.core.yaml_io import dump
from rlllm.launch.plan import FOLDER, LaunchPlan, plan_launch
from rlllm.launch.supervisor import supervise
from rlllm.training.engine_limits import check_resumed
from rlllm.training.plan import Plan
from rlllm.training.settings import TrainingConfig

SETTINGS = "settings.yaml"
"""In the folder of the launch files: the settings of a run that no command line names."""
_OF_THE_FIRST = ("--overwrite", "--dry-run", "--json")
"""Words that the first process has followed; the others would follow them again."""


def launch_of(
    plan: Plan[Any], words: Sequence[str] | None, *, resume: bool = False, accept_change: Sequence[str] = ()
) -> LaunchPlan:
    """The launch of a planned run.

    Args:
        plan: its settings name the launcher.
        words: what follows `rlllm` on the command line; None where there is none, as in the Python API.
        resume: without words: whether the run is continued.
        accept_change: without words: what may have changed then.

    Raises:
        ConfigError: what the launch needs is missing.
    """
    config = plan.config
    _refuse_secrets(config)
    run = config.directory()
    if words is None:
        place = run.absolute() / FOLDER / SETTINGS
        words = [config.stage, "--config", str(place), "--output-dir", str(run.absolute())]
        words += ["--resume"] if resume else []
        words += [word for part in accept_change for word in ("--accept-change", part)]
    else:
        words = [word for word in words if word not in _OF_THE_FIRST]
        if config.output_dir is None:
            words += ["--output-dir", str(run)]
    name = f"rlllm-{config.stage}-{run.name}"
    return plan_launch(config.launch, run, words, name=name, precision=_precision(plan))


def run_launched(config: TrainingConfig, options: RunOptions, planned: Callable[[TrainingConfig], Any]) -> Run:
    """Start the processes of a run, wait for them, and return the run that they made.

    Args:
        config: settings with a launcher.
        options: how the run is started.
        planned: plans settings, and so finds what cannot work before anything is started.

    Raises:
        RlllmError: the settings cannot work, or a process failed.
    """
    config = config.model_copy(update={"output_dir": config.directory()})
    plan = planned(config)
    launch = launch_of(plan, options.words, resume=options.resume, accept_change=options.accept_change)
    run = runs.create(
        config.directory(),
        digest=config.digest(),
        overwrite=options.overwrite,
        resume=options.resume,
        hold=False,  # rank 0 does, perhaps on another machine
        say=options.progress.note,
    )
    if options.words is None:
        settings = config.model_dump(mode="json", exclude_unset=True)
        launch = replace(launch, files={**launch.files, SETTINGS: dump(settings)})
    if options.resume:
        check_resumed(run, config.launch)
    supervise(launch, run, options.progress)
    return run


def _refuse_secrets(config: TrainingConfig) -> None:
    """Raise ConfigError for a secret among the settings: the files of a launch name all of them, for every process to read."""
    if secrets_in(config.model_dump(mode="json")):
        raise ConfigError(
            "the settings hold a secret, which the files that start the processes would show",
            given=f"launch: {config.launch.model_dump(mode='json', exclude_defaults=True) or 'local'}",
            hint="give it by the environment: HF_TOKEN for the Hub, key_env for a server, or a variable that your reward reads",
        )


def _precision(plan: Plan[Any]) -> str | None:
    """The number format that the trainer's settings name; None where they leave it to the hardware."""
    if plan.settings.get("fp16"):
        return "fp16"
    bf16 = plan.settings.get("bf16")
    return None if bf16 is None else "bf16" if bf16 else "no"
