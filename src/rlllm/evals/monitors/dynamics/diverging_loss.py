"""The loss is far above where it began, or above that of blind guessing."""

from __future__ import annotations

import math

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_TIMES = 3.0
_GUESSING_TOKENS = 1.1
_GUESSING_PAIRS = 1.2
_NOT_FALLEN = 0.9
_PATIENCE = 10


class DivergingLoss(Monitor):
    """Over 5 logged steps the loss was above that of guessing, at each of them, and 3 times that of the first step.

    Guessing costs ln V a token where a model imitates, and ln 2 a pair where completions are told apart. A loss that at the
    lowest of the 5 steps is 1.1 times that of tokens, or 1.2 times that of pairs, and after 10 steps has not fallen by a tenth,
    is a finding as well. Runs that sample are left out.
    """

    name = "diverging_loss"
    summary = "the loss is above that of blind guessing and far above its start"
    ends = True

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._loss = Trace(first=1)

    def observe(self, step: LoggedStep) -> Finding | None:
        values = step.values
        if self.facts.samples or not self._loss.add(step.step, values.get("loss")):
            return None
        pairs = {"rewards/accuracies", "accuracy", "rewards/margins"} & values.keys()
        guessing, most = (math.log(2), _GUESSING_PAIRS) if pairs else (self.facts.uniform_loss, _GUESSING_TOKENS)
        lowest, first = self._loss.lowest, self._loss.first
        diverged = lowest > _TIMES * first and lowest > guessing
        drowned = step.step >= _PATIENCE and lowest > most * guessing and self._loss.last > _NOT_FALLEN * first
        if not (diverged or drowned):
            return None
        return Finding(
            self._loss.onset,
            f"the loss is {self._loss.last:.3g}; it began at {first:.3g}, and blind guessing has {guessing:.3g}",
            "the learning rate is too high, or something drowns the input (NEFTune noise, a wrong scale)",
            "lower the learning rate by a factor of ten, or lengthen the warm-up",
        )
