"""Evaluations during training, as they are made: the run's own measurement between two steps, without a trace in training.

transformers asks a trainer's `evaluate` after the log of a step and before its checkpoint. What is asked here is the
measurement of before and after, on other rows; the numbers go the way of transformers' own (`log_history`, trackers,
`on_evaluate`), and the rows with intervals into `evaluations.jsonl`, from which a resumed run reads what was seen.

Every process of a run measures the same rows with the same seed, since all have to take part in the passes of a model that lies
in parts on several of them; the first process says what follows.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from rlllm.algorithms.callbacks import AlreadyFinishedError
from rlllm.core import processes
from rlllm.core.events import ProgressCallback
from rlllm.core.runs import Run, append_jsonl, read_run_file, verify_manifest, write_json
from rlllm.core.verdict import Diagnostics
from rlllm.evals.before_after import Measured, difference, unmeasured
from rlllm.launch import process_group
from rlllm.policies.sharded_weights import whole_weights
from rlllm.rewards.composition import Composition
from rlllm.training.evaluations import EvaluationPlan, best_of, better, evaluation_text, logged, without_gain
from rlllm.training.random_state import undisturbed

START = "evaluated_start.json"
"""In a run directory: the scores of the start model, with which those of later steps are paired."""


class EvaluationCallback(TrainerCallback):
    """The evaluations of one run.

    Args:
        plan: when, and what follows.
        measure: model -> what is measured on the rows of an evaluation, the main measure first.
        run: where they are written.
        diagnostics: told where the run ends early.
        progress: told what was found.
        seed: of intervals by resampling.
        same_rows: file of the measurement before training, where it took the rows of an evaluation; None where it took others.
        trainer: transformers' Trainer; its `evaluate` becomes that of this callback.
        rewards: those that judge here, and count apart what they fail on; None where nothing is judged.
    """

    def __init__(
        self,
        plan: EvaluationPlan,
        measure: Callable[[Any], list[Measured]],
        run: Run,
        diagnostics: Diagnostics,
        progress: ProgressCallback,
        seed: int,
        same_rows: Path | None,
        trainer: Any,
        rewards: Composition | None,
    ) -> None:
        self.plan = plan
        self.measure = measure
        self.run = run
        self.diagnostics = diagnostics
        self.progress = progress
        self.seed = seed
        self.same_rows = same_rows
        self.trainer = trainer
        self.rewards = rewards
        self.history: list[dict[str, Any]] = []
        self._start: list[Measured] = []
        trainer.evaluate = self.evaluate
        trainer.add_callback(self)

    def begin(self) -> None:
        """Measure the start, once for all starts of a run, and read what an earlier one has seen."""
        path, same = self.run.path / START, self.same_rows
        known = next((file for file in (path, same) if file and file.exists()), None)
        earlier = _from_main({"known": str(known or ""), "history": self.run.evaluations()})
        self.history = earlier["history"]
        if self.rewards is not None and self.history:
            self.rewards.restore_counts(self.history[-1].get("reward_counts", {}))
        if earlier["known"]:
            rows = [Measured(**row) for row in read_run_file(Path(earlier["known"]))]
            self._start = [measured for measured in rows if not measured.from_start]
        else:
            self.progress.phase("evaluating the start")
            self._start = self._measured()
        if processes.is_main() and not path.exists():
            write_json(path, [asdict(measured) for measured in self._start])
        if self._start and (text := unmeasured(self._start[0], self._start[0])):
            self.progress.note(f"warning: no evaluations are made: {text}")
            self._start = []
        if self._start and not self.history:
            self._record(0, self._start, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._ends(state):
            raise AlreadyFinishedError

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        last = control.should_training_stop and self.plan.keep == "best" and not self.diagnostics.interrupted
        if state.global_step % self.plan.every == 0 or last:
            control.should_evaluate = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove what was saved only because it was the best, once another is."""
        best = self._best()
        if best is None or not processes.is_main():
            return
        for row in self.history:
            if row["saved"] and row["step"] != best["step"]:
                shutil.rmtree(self._checkpoint(row["step"]), ignore_errors=True)

    def evaluate(self, **_: Any) -> dict[str, float]:
        """Evaluate the model as it is; returns the numbers as transformers names them.

        A diverged model is not evaluated: it can be sampled from no more, and the verdict says so.
        """
        trainer, step = self.trainer, self.trainer.state.global_step
        if not self._start or self.diagnostics.non_finite_steps:
            return {}
        self.progress.phase(f"evaluating step {step}")
        began = time.monotonic()
        measured = self._measured()
        if text := unmeasured(self._start[0], measured[0]):
            self.progress.note(f"warning: step {step}: {text}")
            return {}
        row = self._record(step, measured, time.monotonic() - began)
        numbers = logged(row)
        Trainer.log(trainer, dict(numbers))  # TRL's own would add what the loop has gathered for its next log
        trainer.control = trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, numbers)
        self._follow(row)
        self.progress.phase("training")
        return numbers

    def bring_back(self) -> None:
        """Load the weights of the best step, where they are to be kept. The diagnostics say why that cannot be."""
        best = self._best()
        if best is None or best["step"] == self.trainer.state.global_step:
            return
        folder = self._checkpoint(best["step"])
        problem = verify_manifest(folder)
        if problem is not None:
            self.diagnostics.failure = f"the checkpoint of the best step cannot be used: {folder} {problem}"
            return
        self.progress.note(f"keeping step {best['step']}, the best evaluation: {evaluation_text(best)}")
        self.trainer.state.best_model_checkpoint = str(folder)
        if self.trainer.is_deepspeed_enabled:
            self.trainer._load_best_model()
        else:
            self.trainer._load_from_checkpoint(str(folder))

    def _measured(self) -> list[Measured]:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        with whole_weights(model), undisturbed(model):
            return self.measure(model)

    def _record(self, step: int, measured: list[Measured], seconds: float) -> dict[str, Any]:
        """The row of one evaluation, written down; the same in every process."""
        pairs = zip(self._start, measured, strict=True)
        changes = [change for then, now in pairs for change in difference(then, now, seed=self.seed)]
        measures = [
            {
                "name": change["name"],
                "higher_is_better": change["higher_is_better"],
                "value": change["after"],
                "difference": change["difference"] if step else None,
            }
            for change in changes
        ]
        row = {"step": step, "rows": len(measured[0].scores), "seconds": round(seconds, 1), "measures": measures}
        counts = {} if self.rewards is None else {"reward_counts": self.rewards.counts()}
        row = _from_main({**row, "saved": False, **counts})
        earlier = self._best()
        if self.plan.keep == "best" and step and (earlier is None or better(row, earlier)):
            # beside the checkpoints that are saved anyway
            row["saved"] = not self.trainer.control.should_save
        self.history.append(row)
        if processes.is_main():
            append_jsonl(self.run.path / "evaluations.jsonl", [row])
        return row

    def _follow(self, row: dict[str, Any]) -> None:
        """Save a new best model, say what was found, and end the run where nothing was gained for long enough."""
        trainer, best = self.trainer, self._best()
        note = f"step {row['step']}: {evaluation_text(row)}"
        if best is row:
            trainer.state.best_global_step, trainer.state.best_metric = (
                row["step"],
                row["measures"][0]["value"]["estimate"],
            )
            trainer.control.should_save = True
            note += ", the best so far"
        self.progress.note(f"{note} ({row['rows']} held-out rows)")
        if self._ends(trainer.state):
            trainer.control.should_training_stop = True

    def _best(self) -> dict[str, Any] | None:
        """The best evaluation after a step, where the best model is kept."""
        return best_of(self.history, from_step=1) if self.plan.keep == "best" else None

    def _ends(self, state: Any) -> bool:
        """Whether the run ends here, as the diagnostics then say."""
        since, steps = without_gain(self.history), state.max_steps
        ends = 0 < self.plan.stop_after <= since and state.global_step < steps
        if ends:
            best = best_of(self.history)
            assert best is not None
            early = {"step": state.global_step, "of": steps, "best": best["step"], "evaluations": since}
            self.diagnostics.stopped_early = early
            self.diagnostics.steps_requested = state.global_step
        return ends

    def _checkpoint(self, step: int) -> Path:
        return self.run.checkpoints / f"checkpoint-{step}"


def _from_main(row: dict[str, Any]) -> dict[str, Any]:
    """What the first process has, in all of them: last bits may differ, and what follows must not."""
    return process_group.on_main(lambda: row)
