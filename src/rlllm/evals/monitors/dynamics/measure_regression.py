"""Held-out rows say that the model is worse than it was at the start."""

from __future__ import annotations

from rlllm.core.outcome import GOT_WORSE, outcome_of
from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts

_IN_A_ROW = 2


class MeasureRegression(Monitor):
    """In two evaluations in a row the main measure was worse than at the start, by the whole 95 % interval.

    Needs evaluations during training (`eval.every`). The measurement after the last step decides the outcome.
    """

    name = "measure_regression"
    summary = "evaluations of held-out rows are worse than that of the start"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._worse: list[int] = []

    def observe(self, step: LoggedStep) -> Finding | None:
        for row in step.evaluations:
            measures = [{"before": None, "after": measure["value"], **measure} for measure in row["measures"]]
            outcome = outcome_of({"measures": measures})
            self._worse = [*self._worse, row["step"]] if outcome.state == GOT_WORSE else []
            if len(self._worse) == _IN_A_ROW:
                return Finding(
                    self._worse[0],
                    f"{outcome.measure} is worse than at the start in {_IN_A_ROW} evaluations in a row: {outcome.change}",
                    "training destroys what is measured: too large updates, or another aim than the measure",
                    "lower the learning rate; eval.keep=best keeps the best step, eval.stop_after=3 ends such a run",
                )
        return None
