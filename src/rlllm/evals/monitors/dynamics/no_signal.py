"""What is chosen cannot be told from what is rejected."""

from __future__ import annotations

import math

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts

_BOUND = 0.58
_FEWEST_PAIRS = 150
_QUARTER = 0.25
_EARLIEST = 0.45
_Z = 1.96


class NoSignal(Monitor):
    """The accuracy on the pairs of the steps since the first quarter of the run is below 0.58 by its 95 % interval.

    Pairs are counted as TRL logs them: the batch of a step. Nothing is said before 45 % of the steps, so that learning has
    had its time.
    """

    name = "no_signal"
    summary = "chosen and rejected cannot be told apart"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._right = self._pairs = 0.0
        self._onset = 0
        batch = facts.settings.get("per_device_train_batch_size") or 1
        self._batch = float(batch) * float(facts.settings.get("gradient_accumulation_steps") or 1)

    def observe(self, step: LoggedStep) -> Finding | None:
        accuracy = step.values.get("accuracy", step.values.get("rewards/accuracies"))
        if accuracy is None or step.step <= _QUARTER * self.facts.steps:
            return None
        self._onset = self._onset or step.step
        self._right += accuracy * self._batch
        self._pairs += self._batch
        share = self._right / self._pairs
        if (
            self._pairs < _FEWEST_PAIRS
            or step.step < _EARLIEST * self.facts.steps
            or share + _Z * math.sqrt(0.25 / self._pairs) > _BOUND
        ):
            return None
        return Finding(
            self._onset,
            f"of {self._pairs:.0f} pairs since step {self._onset}, {share:.0%} are ordered right, and guessing has 50%",
            "the preferences follow nothing that the model can learn, or columns are swapped in a part of the rows",
            "look at pairs: rlllm data show DATA; do two people agree on them?",
        )
