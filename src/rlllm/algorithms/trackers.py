"""Trackers of experiments (`report_to`): transformers' own integrations, told of a whole run and not only of its training.

The integrations end with training. Here they stay open until the run was measured, they get its settings beside TRL's, and a
resumed run goes on in the tracker's run that it began. One that fails is left out, and the run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from rlllm.core.errors import ConfigError, describe
from rlllm.core.events import ProgressCallback
from rlllm.core.runs import Run, read_json, write_json

_IDS = "trackers.json"
"""In a run's directory: tracker -> the id of its run there."""
_PROJECT_VARIABLES = {"wandb": "WANDB_PROJECT", "mlflow": "MLFLOW_EXPERIMENT_NAME"}
"""Variables by which the integrations find the project; trackio's is an argument of TRL's config."""


class Trackers(TrainerCallback):
    """Stands for the integrations of a trainer, whose callbacks it takes over.

    Args:
        integrations: name as in `report_to` -> the callback.
        run: its settings are told, its directory holds the files of TensorBoard.
        progress: gets a note for each tracker that is left out.
    """

    def __init__(self, integrations: Mapping[str, Any], run: Run, progress: ProgressCallback) -> None:
        self.integrations = dict(integrations)
        self.run = run
        self.progress = progress
        self._event: tuple[Any, Any, Any] | None = None
        board = self.integrations.get("tensorboard")
        if board is not None and board.logging_dir is None:
            board.logging_dir = str(run.path / "tensorboard")

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._event = (args, state, control)
        for name, integration in self.integrations.items():
            try:
                with _environment(self._variables(name, args)):
                    if name == "wandb" and state.is_world_process_zero:
                        self._reopen_wandb(args)
                    integration.on_train_begin(args, state, control, **more)
                if state.is_world_process_zero:
                    _tell_settings(name, integration, self.run.config.get("settings", {}))
                    self._remember(name)
            except Exception as error:
                raise ConfigError(
                    f"the tracker {name} does not start: {describe(error)[:300]}",
                    given=f"report_to={name}",
                    hint="leave report_to out, or take another: trackio and tensorboard write to this machine",
                ) from error

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        self._tell(lambda integration: integration.on_log(args, state, control, logs=logs, **more))

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._tell(lambda integration: integration.on_save(args, state, control, **more))

    def on_push_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._tell(lambda integration: integration.on_push_begin(args, state, control, **more))

    def close(self, trainer: Any) -> None:
        """Tell what was measured, and end the tracker's run.

        A resumed run whose training was done has not begun any; without results there is nothing to tell of it.
        """
        results, model = measured(self.run.results), trainer.model
        if self._event is None and not (results and self.integrations):
            return
        if self._event is None:
            self.on_train_begin(trainer.args, trainer.state, trainer.control, model=model)
        assert self._event is not None
        args, state, control = self._event
        if results:
            self.on_log(args, state, control, logs=results, model=model)
        self._tell(lambda integration: integration.on_train_end(args, state, control, model=model))
        if "wandb" in self.integrations and state.is_world_process_zero:
            import wandb

            wandb.finish()  # the integration leaves its run open, and the next run of this process would go on in it

    def _tell(self, call: Callable[[Any], None]) -> None:
        for name, integration in list(self.integrations.items()):
            try:
                call(integration)
            except Exception as error:
                del self.integrations[name]
                self.progress.note(f"warning: the tracker {name} is left out from here on: {describe(error)[:300]}")

    def _variables(self, name: str, args: Any) -> dict[str, str]:
        """Variables that an integration reads as it starts: the project, and MLflow's run to go on in."""
        known, project = self._ids().get(name), _PROJECT_VARIABLES.get(name)
        variables = {"MLFLOW_RUN_ID": known} if name == "mlflow" and known else {}
        return {**variables, **({project: args.project} if project and project not in os.environ else {})}

    def _reopen_wandb(self, args: Any) -> None:
        """Go on in the run of an earlier start; the integration takes one that is open."""
        import wandb

        known = self._ids().get("wandb")
        if known and wandb.run is None:
            wandb.init(project=os.environ["WANDB_PROJECT"], name=args.run_name, id=known, resume="allow")

    def _ids(self) -> dict[str, str]:
        path = self.run.path / _IDS
        return read_json(path) if path.is_file() else {}

    def _remember(self, name: str) -> None:
        if (number := _id_of(name)) is not None:
            write_json(self.run.path / _IDS, {**self._ids(), name: number})


@contextmanager
def tracked(run: Run, trainer: Any, progress: ProgressCallback) -> Iterator[None]:
    """Run with the trackers of a trainer open; they are closed afterwards, whatever happens inside."""
    kinds = {kind: name for name, kind in INTEGRATION_TO_CALLBACK.items()}
    found = {kinds[type(item)]: item for item in trainer.callback_handler.callbacks if type(item) in kinds}
    trackers = Trackers(found, run, progress)
    for integration in found.values():
        trainer.remove_callback(integration)
    if found:
        trainer.add_callback(trackers)
    try:
        yield
    finally:
        trackers.close(trainer)


def run_name(path: Path) -> str:
    """The name of a run in a tracker: that of its directory, and under another run also that run's."""
    path = path.resolve()
    outer = next((parent for parent in reversed(path.parents) if (parent / "status.json").is_file()), None)
    return path.name if outer is None else str(path.relative_to(outer.parent))


def measured(results: Mapping[str, Any]) -> dict[str, float]:
    """Measures before and after with their intervals, under names that the integrations show as `eval/...`."""
    values = {}
    for row in results.get("measures", ()):
        for part in ("before", "after", "difference"):
            for key, end in (("estimate", ""), ("low", "_low"), ("high", "_high")):
                if (row.get(part) or {}).get(key) is not None:
                    values[f"eval_{row['name']}/{part}{end}"] = float(row[part][key])
    return values


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _tell_settings(name: str, integration: Any, settings: Mapping[str, Any]) -> None:
    """Give a tracker the run's settings under the name `rlllm`."""
    if name == "tensorboard":
        integration.tb_writer.add_text("rlllm", json.dumps(settings, indent=2, default=str))
    elif name == "trackio":
        import trackio

        trackio.config.update({"rlllm": dict(settings)}, allow_val_change=True)
    elif name == "wandb":
        import wandb

        wandb.config.update({"rlllm": dict(settings)}, allow_val_change=True)
    elif name == "mlflow":
        import mlflow

        mlflow.log_dict(dict(settings), "rlllm.json")


def _id_of(name: str) -> str | None:
    """By what a tracker finds the run that is open now; None for one that goes by its name or folder."""
    if name == "wandb":
        import wandb

        return wandb.run.id if wandb.run else None
    if name == "mlflow":
        import mlflow

        active = mlflow.active_run()
        return active.info.run_id if active else None
    return None
