"""Steps whose loss or gradient is no finite number: the batch is kept, and the run goes back to its last good checkpoint.

Weights that met NaN stay NaN, so that nothing after such a step is worth a pass. Training ends there, checkpoints from then on
are removed, and the run is resumed from the one before, as after a kill. It does not read the rows of the epoch again that it
had read (`ignore_data_skip`): the same batch would bring the same number. It goes back `MOST` times.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from transformers import TrainerCallback

from rlllm.core.events import ProgressCallback
from rlllm.core.processes import is_main
from rlllm.core.runs import Run
from rlllm.core.verdict import Diagnostics
from rlllm.launch import process_group
from rlllm.training.plan import Plan

MOST = 2
"""How often a run goes back."""
FOLDER = "nonfinite"
"""In a run directory: a file for each step that was no finite number, with the rows of its batch."""


class NonFiniteStop(TrainerCallback):
    """Ends training at the first step that is no finite number, and writes down what it was given. Nothing of it is saved.

    Args:
        run: gets the file.
        progress: is told.
        tokenizer: decodes token ids.
    """

    def __init__(self, run: Run, progress: ProgressCallback, tokenizer: Any) -> None:
        self.run = run
        self.progress = progress
        self.tokenizer = tokenizer
        self.trainer: Any = None
        """Set once it is built."""
        self.last_finite = 0
        """The last logged step that was finite."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.last_finite = state.global_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.step_batches = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        numbers = {name: (logs or {}).get(name) for name in ("loss", "grad_norm")}
        if numbers["loss"] is None:
            return
        if all(number is None or math.isfinite(number) for number in numbers.values()):
            self.last_finite = state.global_step
            return
        control.should_training_stop = True
        control.should_save = control.should_evaluate = False
        rows = [row for batch in self.trainer.step_batches or () for row in _rows(batch, self.tokenizer)]
        name = f"{FOLDER}/step-{state.global_step}.json"
        if self.run.writes:
            (self.run.path / FOLDER).mkdir(exist_ok=True)
        self.run.write(
            name, {"step": state.global_step, **{key: str(value) for key, value in numbers.items()}, "rows": rows}
        )
        said = ", ".join(f"{key} {value:g}" for key, value in numbers.items() if value is not None)
        self.progress.note(
            f"warning: step {state.global_step} is no finite number ({said}); its batch stands in {name}"
        )


def _rows(batch: Any, tokenizer: Any) -> list[Any]:
    """What a forward pass was given, as text: rows as they are, token ids decoded."""
    if not isinstance(batch, Mapping):
        return list(batch)
    ids = [value for name, value in batch.items() if name.endswith("input_ids")]
    return [tokenizer.decode(row, skip_special_tokens=False) for value in ids for row in value.tolist()]


def can_go_back(run: Run, diagnostics: Diagnostics, last_finite: int) -> bool:
    """Whether training met a number that is not finite, and there is a good checkpoint from before it."""
    if not diagnostics.non_finite_steps or diagnostics.interrupted or diagnostics.failure is not None:
        return False
    return bool(process_group.on_main(lambda: _can_go_back(run, diagnostics, last_finite)))


def _can_go_back(run: Run, diagnostics: Diagnostics, last_finite: int) -> bool:
    if len(diagnostics.rollbacks) >= MOST:
        return False
    for folder in run.checkpoints.glob("checkpoint-*"):
        step = folder.name.removeprefix("checkpoint-")
        if step.isdigit() and int(step) > last_finite:
            shutil.rmtree(folder)
    return run.latest_checkpoint() is not None


def go_back(plan: Plan[Any], run: Run, diagnostics: Diagnostics, progress: ProgressCallback) -> Plan[Any]:
    """Begin the run's facts anew, and note that it goes back; returns the plan by which it is resumed."""
    failed, checkpoint = diagnostics.steps_done, process_group.on_main(run.latest_checkpoint)
    assert checkpoint is not None
    fresh = Diagnostics(rows=len(plan.loaded.train), rows_needed=plan.rows_needed)
    plan.trainer.expect(plan, fresh)
    fresh.rollbacks = [*diagnostics.rollbacks, {"step": failed, "to": int(checkpoint.name.rpartition("-")[2])}]
    for field in fields(fresh):
        setattr(diagnostics, field.name, getattr(fresh, field.name))
    if is_main():
        progress.note(f"going back to {checkpoint.name} ({len(fresh.rollbacks)} of {MOST} times)")
    return replace(plan, settings={**plan.settings, "ignore_data_skip": True})
