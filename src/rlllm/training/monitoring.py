"""Monitors of training dynamics in a run: they read each logged step, warn, and end a run that is worthless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from transformers import TrainerCallback

from rlllm.algorithms.callbacks import AlreadyFinishedError
from rlllm.core.events import ProgressCallback
from rlllm.core.processes import is_main
from rlllm.core.runs import Run
from rlllm.core.verdict import Diagnostics
from rlllm.evals.monitors.dynamics.base import LoggedStep, Monitor, TrainingFacts
from rlllm.evals.monitors.dynamics.registry import ALL, all_monitors, ask
from rlllm.launch import process_group
from rlllm.training.plan import Plan


class MonitorCallback(TrainerCallback):
    """Hands every logged step to the monitors of a run. Of several processes the first does, and all end by its word.

    Args:
        plan: of the run.
        run: its logged rows are read again when it is resumed.
        diagnostics: get the findings.
        progress: is told what was found.
        vocabulary: tokens of the model.
        completions: rows of `samples.jsonl` since the last logged step; emptied here.
    """

    def __init__(
        self,
        plan: Plan[Any],
        run: Run,
        diagnostics: Diagnostics,
        progress: ProgressCallback,
        vocabulary: int,
        completions: list[dict[str, Any]],
    ) -> None:
        self.plan = plan
        self.run = run
        self.diagnostics = diagnostics
        self.progress = progress
        self.vocabulary = vocabulary
        self.completions = completions
        self._monitors: list[Monitor] = []
        self._evaluations: list[dict[str, Any]] = []
        self._ended = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Make the monitors, and hand them what an earlier start of the run logged."""
        self.diagnostics.findings.clear()
        self.completions.clear()
        facts = self._facts(args, state)
        self._monitors = all_monitors(self.plan.config.monitors, facts) if is_main() else []
        self._evaluations = self.run.evaluations()
        self._ended = process_group.on_main(self._replay)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._ended:  # said here, since the callbacks after this one have to read the earlier rows as well
            raise AlreadyFinishedError

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._evaluations = self.run.evaluations()[-1:]

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        if "loss" not in (logs or {}):  # an evaluation, or the summary at the end
            return
        step, row = state.global_step, dict(logs or {})
        if process_group.on_main(lambda: self._observe(step, row, self.completions, aloud=True)):
            control.should_training_stop = True
        self.completions.clear()

    def _facts(self, args: Any, state: Any) -> TrainingFacts:
        rewards = self.plan.rewards if self.plan.trainer.samples else None
        return TrainingFacts(
            steps=state.max_steps,
            vocabulary=self.vocabulary if self.plan.trainer.task == "CAUSAL_LM" else 0,
            settings=args.to_dict(),
            weights=dict(zip(rewards.names, rewards.weights, strict=True)) if rewards else {},
        )

    def _replay(self) -> bool:
        """Hand over the rows that are there already; whether the run ended by them."""
        ended = False
        samples = self.run.samples()
        ahead: list[dict[str, Any]] = []
        for row in self.run.metrics():
            completions, ahead = _up_to(row["step"], ahead, samples)
            ended = self._observe(row["step"], row, completions, aloud=False) or ended
        self.completions.extend([*ahead, *samples])
        return ended

    def _observe(
        self, step: int, row: Mapping[str, Any], completions: Sequence[Mapping[str, Any]], *, aloud: bool
    ) -> bool:
        """Ask each monitor that has not spoken yet; whether what one says ends the run."""
        values = {key: float(value) for key, value in row.items() if isinstance(value, int | float) and isfinite(value)}
        evaluations = [entry for entry in self._evaluations if entry["step"] < step]
        self._evaluations = [entry for entry in self._evaluations if entry["step"] >= step]
        logged = LoggedStep(step, values, tuple(completions), evaluations)
        allowed = set(self.plan.config.allow)
        ended = False
        for monitor in list(self._monitors):
            finding = ask(monitor, logged)
            if finding is None:
                continue
            self._monitors.remove(monitor)
            ends = monitor.ends and not {ALL, monitor.name} & allowed
            ended = ended or ends
            self.diagnostics.findings.append({"monitor": monitor.name, "step": step, "ended": ends, **asdict(finding)})
            if aloud:
                says = "stopping" if ends else "warning"
                self.progress.note(f"{says}: {monitor.name}: {finding.evidence}; {finding.cause}")
        return ended


def _up_to(
    step: int, ahead: list[dict[str, Any]], samples: Iterator[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The completions of rollouts up to a step, and those that were read beyond it."""
    rows = [*ahead]
    for row in samples:
        rows.append(row)
        if row["step"] > step:
            break
    return [row for row in rows if row["step"] <= step], [row for row in rows if row["step"] > step]
