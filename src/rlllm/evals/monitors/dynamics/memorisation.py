"""A few rows are learned by heart."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_EPOCHS = 10
_LEFT = 0.2


class Memorisation(Monitor):
    """After 10 epochs the loss of 5 logged steps is a fifth of that of the first 3.

    So many passes over the same rows teach these rows. Runs that sample are left out: they see new completions each time.
    """

    name = "memorisation"
    summary = "a few rows are learned by heart"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._loss = Trace()

    def observe(self, step: LoggedStep) -> Finding | None:
        if self.facts.samples or not self._loss.add(step.step, step.values.get("loss")):
            return None
        if step.values.get("epoch", 0.0) < _EPOCHS or self._loss.last > _LEFT * self._loss.first:
            return None
        return Finding(
            self._loss.onset,
            f"after {step.values['epoch']:.0f} passes over the rows the loss is {self._loss.last:.2g}; it began at "
            f"{self._loss.first:.2g}",
            "there are few rows, and the model knows them by heart",
            "more rows or fewer steps; evaluations during training show where held-out rows turn (data.holdout, eval.every)",
        )
